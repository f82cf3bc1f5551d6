"""Bookinfo and the other samples of Istio's documentation on one real mesh."""
