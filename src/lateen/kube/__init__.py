"""A thin Kubernetes API client and informers: the only way to the API server, embedded or real."""
