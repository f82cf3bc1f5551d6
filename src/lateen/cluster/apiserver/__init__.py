"""The embedded Kubernetes API server: HTTP request -> who, may they, what -> store -> JSON, table or watch."""
