"""The processes that hold pods: node-init, pod-init and container-init (standard library only, single-threaded)."""
