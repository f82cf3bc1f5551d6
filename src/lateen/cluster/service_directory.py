"""Services, their EndpointSlices and Namespaces as the node knows them: what DNS and service rules read.

Flow: informer changes -> `apply` (which Service they concern) -> typed views by name, namespace and address.
Invariants: views are decoded once per change; an object that does not decode (the API server admits none) is as
absent; a slice belongs to the Service that its label names, in its own namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lateen.api.codec import decode
from lateen.api.core import Service
from lateen.api.discovery import SERVICE_NAME_LABEL, EndpointSlice
from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.objects import JsonObject, ObjectKey
from lateen.kube.informer import Change


def _find_kind(group: str, kind: str) -> Kind:
    found = Registry(BUILTIN).find_kind(group, "v1", kind)
    assert found is not None, kind
    return found


SERVICE = _find_kind("", "Service")
NAMESPACE = _find_kind("", "Namespace")
ENDPOINT_SLICE = _find_kind("discovery.k8s.io", "EndpointSlice")
KINDS = (SERVICE, ENDPOINT_SLICE, NAMESPACE)


class ServiceDirectory:
    """The latest state of `KINDS`."""

    def __init__(self) -> None:
        self._namespaces: set[str] = set()
        self._services: dict[ObjectKey, Service] = {}
        self._owners: dict[ObjectKey, ObjectKey] = {}
        self._slices: dict[ObjectKey, dict[str, EndpointSlice]] = {}
        self._by_cluster_ip: dict[str, ObjectKey] = {}
        self._by_endpoint: dict[str, Counter[ObjectKey]] = {}

    def apply(self, change: Change) -> set[ObjectKey]:
        """Take a change; returns the Services that it concerns."""
        return self.put(change.kind, change.key, change.new)

    def put(self, kind: Kind, key: ObjectKey, document: JsonObject | None) -> set[ObjectKey]:
        """Know this state of an object, None: it is gone; returns the Services that this concerns."""
        if kind is SERVICE:
            self._put_service(key, None if document is None else decode(document, Service).value)
            return {key}
        if kind is ENDPOINT_SLICE:
            return self._put_slice(key, None if document is None else decode(document, EndpointSlice).value)
        if document is None:
            self._namespaces.discard(key.name)
        else:
            self._namespaces.add(key.name)
        return set()

    def _put_service(self, key: ObjectKey, service: Service | None) -> None:
        before = self._services.pop(key, None)
        if before is not None and self._by_cluster_ip.get(before.spec.cluster_ip) == key:
            del self._by_cluster_ip[before.spec.cluster_ip]
        if service is not None:
            self._services[key] = service
            if service.spec.cluster_ip not in ("", "None"):
                self._by_cluster_ip[service.spec.cluster_ip] = key

    def _put_slice(self, key: ObjectKey, endpoint_slice: EndpointSlice | None) -> set[ObjectKey]:
        before = self._owners.pop(key, None)
        if before is not None:
            self._count_endpoints(before, self._slices[before].pop(key.name), -1)
            if not self._slices[before]:
                del self._slices[before]
        concerned = set() if before is None else {before}
        if endpoint_slice is None:
            return concerned
        owner = ObjectKey(key.namespace, endpoint_slice.metadata.labels.get(SERVICE_NAME_LABEL, ""))
        self._owners[key] = owner
        self._slices.setdefault(owner, {})[key.name] = endpoint_slice
        self._count_endpoints(owner, endpoint_slice, 1)
        return concerned | {owner}

    def _count_endpoints(self, owner: ObjectKey, endpoint_slice: EndpointSlice, step: int) -> None:
        for endpoint in endpoint_slice.endpoints:
            for address in endpoint.addresses[:1]:
                owners = self._by_endpoint.setdefault(address, Counter())
                owners[owner] += step
                if not owners[owner]:
                    del owners[owner]
                if not owners:
                    del self._by_endpoint[address]

    @property
    def services(self) -> Mapping[ObjectKey, Service]:
        """Every Service: a live view."""
        return MappingProxyType(self._services)

    def has_namespace(self, name: str) -> bool:
        """Whether there is such a namespace."""
        return name in self._namespaces

    def find_service(self, namespace: str, name: str) -> Service | None:
        """Return a Service."""
        return self._services.get(ObjectKey(namespace, name))

    def find_slices(self, namespace: str, name: str) -> Sequence[EndpointSlice]:
        """Return the EndpointSlices of a Service, in the order of their names."""
        slices = self._slices.get(ObjectKey(namespace, name), {})
        return [slices[each] for each in sorted(slices)]

    def find_by_cluster_ip(self, address: str) -> ObjectKey | None:
        """Return the Service that has this cluster IP."""
        return self._by_cluster_ip.get(address)

    def find_by_endpoint(self, address: str) -> Sequence[ObjectKey]:
        """Return the Services that have this endpoint, in order."""
        return sorted(self._by_endpoint.get(address, ()))

    def is_ready(self, address: str) -> bool:
        """Whether a Service sends to this endpoint."""
        return any(
            address in endpoint.addresses and endpoint.conditions.ready is not False
            for owner in self.find_by_endpoint(address)
            for found in self.find_slices(*owner)
            for endpoint in found.endpoints
        )
