"""Distribution of Envoy resources: subscriptions, ordering, streams, server."""
