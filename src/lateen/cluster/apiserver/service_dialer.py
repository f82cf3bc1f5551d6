"""How the API server reaches the Service of a webhook: (namespace, name, port) -> a socket to one ready endpoint.

The API server stands outside the pods' network, so it cannot dial a cluster IP: it picks an endpoint from the Service's
EndpointSlices, as the aggregator of Kubernetes does, and lets `connect` open the way to it.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from lateen.cluster.revisions import Key
from lateen.cluster.store import Store

Connect = Callable[[str, int], Awaitable[socket.socket]]
"""(address of a pod or of the bridge, port) -> a connected, non-blocking socket; OSError if nobody answers."""

_SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_SLICES = "endpointslices.discovery.k8s.io"


class ServiceDialer:
    """Dials Services by name."""

    def __init__(self, store: Store, connect: Connect) -> None:
        self._store = store
        self._connect = connect

    async def __call__(self, namespace: str, name: str, port: int) -> socket.socket:
        """Connect to an endpoint of the Service; OSError if it has none."""
        revision = self._store.get(Key("services", namespace, name))
        if revision is None:
            raise OSError(f'service "{name}" not found')
        spec: dict[str, Any] = revision.document().get("spec") or {}
        wanted = next((one for one in spec.get("ports") or () if one.get("port") == port), None)
        if wanted is None:
            raise OSError(f"service {namespace}/{name} has no port {port}")
        endpoints = list(self._find_endpoints(namespace, name, wanted.get("name", "")))
        if not endpoints:
            raise OSError(f'no endpoints available for service "{name}"')
        return await self._connect(*random.choice(endpoints))

    def _find_endpoints(self, namespace: str, name: str, port_name: str) -> Iterator[tuple[str, int]]:
        for revision in self._store.list_objects(_SLICES, namespace):
            if revision.labels.get(_SERVICE_NAME_LABEL) != name:
                continue
            endpoint_slice = revision.document()
            ports = [one["port"] for one in endpoint_slice.get("ports") or () if one.get("name", "") == port_name]
            for endpoint in endpoint_slice.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                yield from ((address, port) for address in endpoint["addresses"] for port in ports)
