"""From the mesh to Envoy's configuration: pure queries whose results are Envoy resources, encoded once."""
