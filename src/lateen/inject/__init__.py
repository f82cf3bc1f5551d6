"""Sidecar injection: a pod in, the same pod with `istio-init` and `istio-proxy` out; pure, and as a webhook."""
