"""The columns that `kubectl get` shows for built-in kinds: one layout a kind, grouped as Kubernetes groups
them.
"""
