"""Beside the proxies: identity, keys, secrets, the relay to discovery, probes; one process per node."""
