"""Kubernetes and Istio types: kinds, documents, typed views, codec, YAML loader, schemas and CRDs."""
