"""Local stand-ins for the images of Istio's documentation: standard library only, small, one process each."""
