"""Lateen: the Istio service mesh in Python, with the real upstream Envoy as its data plane."""
