"""What Envoy would do with a request: its matching, in Python, over generated or dumped configuration."""
