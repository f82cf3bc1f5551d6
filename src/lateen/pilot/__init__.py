"""The control plane's configuration half: Kubernetes objects in, Envoy configuration to every proxy out."""
