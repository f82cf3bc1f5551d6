"""`lateen describe`: a pod or service, and the mesh's configuration that concerns it."""
