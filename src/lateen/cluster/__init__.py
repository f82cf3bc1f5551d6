"""The embedded Kubernetes cluster: API server, controllers, and a node that runs pods as processes."""
