"""The model of the mesh: services, endpoints, workloads, authentication and visibility, as queries over inputs."""
