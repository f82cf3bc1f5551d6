"""Indexes over the inputs: each finds by value what a query would otherwise have to scan for.

Hosts are filed under `host_key`: what has a dot, and wildcards, stand for themselves in every namespace, a short name
only in the namespace of the object that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lateen.api.virtual_service import VirtualServiceSpec
from lateen.base.hosts import is_wildcard
from lateen.base.names import ObjectRef
from lateen.incremental.inputs import Index
from lateen.mesh.inputs import (
    AUTHORIZATION_POLICIES,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    GATEWAYS,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
    VIRTUAL_SERVICES,
)
from lateen.mesh.routing_rows import VirtualServiceRow
from lateen.mesh.rows import ServiceRef, ServiceRow

DEFAULT_EXPORT = ""  # files an object that leaves its visibility to the mesh's default.
MESH_GATEWAY = "mesh"  # Istio's name for all sidecars, where gateways are listed.

ANY_WORKLOAD = ("", "")
"""Files a Gateway without selector."""

HostKey = tuple[str, str]


def is_short(host: str) -> bool:
    """Whether a host is a short name, which stands for a Service of the same namespace."""
    return bool(host) and "." not in host and ":" not in host and "*" not in host


def host_key(host: str, namespace: str) -> HostKey:
    """Return what a host of an object in a namespace is filed under."""
    return (namespace if is_short(host) else "", host.lower())


def list_gateways(ref: ObjectRef, gateways: Iterable[str]) -> tuple[str, ...]:
    """Return the gateways that a VirtualService names, as `namespace/name` or `mesh`."""
    found = [name if name == MESH_GATEWAY or "/" in name else f"{ref.namespace}/{name}" for name in gateways]
    return tuple(dict.fromkeys(found)) or (MESH_GATEWAY,)


def list_sources(spec: VirtualServiceSpec) -> Iterator[tuple[Mapping[str, str], str]]:
    """Return the (labels, namespace) of clients that the matches of a VirtualService ask for."""
    for http in spec.http:
        yield from ((match.source_labels, match.source_namespace) for match in http.match)
    for tls in spec.tls:
        yield from ((match.source_labels, match.source_namespace) for match in tls.match)
    for tcp in spec.tcp:
        yield from ((match.source_labels, match.source_namespace) for match in tcp.match)


def _list_viewers(namespace: str, export_to: tuple[str, ...]) -> list[str]:
    return [namespace if viewer == "." else viewer for viewer in export_to or (DEFAULT_EXPORT,)]


def _first_label(ref: ServiceRef, row: ServiceRow) -> Iterable[tuple[str, str, str]]:
    return [(ref.namespace, *row.selector[0])] if row.selector else ()


def _wildcards(ref: ObjectRef, row: VirtualServiceRow) -> Iterable[str]:
    if MESH_GATEWAY not in list_gateways(ref, row.spec.gateways):
        return ()
    return [host.lower() for host in row.spec.hosts if is_wildcard(host)]


SERVICES_BY_NAMESPACE = Index("services by namespace", SERVICES, lambda ref, _: (ref.namespace,))
SERVICES_BY_PORT = Index(
    "services by namespace and port",
    SERVICES,
    lambda ref, row: [(ref.namespace, port.number) for port in row.ports],
)
SERVICES_BY_PORT_NUMBER = Index("services by port", SERVICES, lambda _, row: [port.number for port in row.ports])
SERVICES_BY_ADDRESS = Index("services by address", SERVICES, lambda _, row: row.addresses)
SERVICES_BY_HOST = Index("service entries by host", SERVICES, lambda _, row: (row.host.lower(),) if row.host else ())
SERVICES_BY_ALIAS = Index(
    "aliases by the name they stand for",
    SERVICES,
    lambda _, row: (row.external_name.lower(),) if row.external_name else (),
)
SERVICES_BY_SELECTOR = Index("services by the first label they select", SERVICES, _first_label)
SERVICES_BY_ENDPOINT = Index(
    "service entries by endpoint", SERVICES, lambda _, row: [endpoint.address for endpoint in row.endpoints]
)
SERVICES_BY_VIEWER = Index(
    "services by the namespace they are exported to",
    SERVICES,
    lambda ref, row: _list_viewers(ref.namespace, row.export_to),
)
SLICES_BY_SERVICE = Index(
    "endpoint slices by service",
    ENDPOINT_SLICES,
    lambda ref, row: (ObjectRef("Service", ref.namespace, row.service),),
)
SLICES_BY_ADDRESS = Index(
    "endpoint slices by address",
    ENDPOINT_SLICES,
    lambda _, row: [endpoint.address for endpoint in row.endpoints],
)
PODS_BY_ADDRESS = Index("pods by address", PODS, lambda _, row: row.addresses)
PODS_BY_LABEL = Index("pods by label", PODS, lambda ref, row: [(ref.namespace, *label) for label in row.labels])
PEER_AUTHENTICATIONS_BY_NAMESPACE = Index(
    "peer authentications by namespace", PEER_AUTHENTICATIONS, lambda ref, _: (ref.namespace,)
)
AUTHORIZATION_POLICIES_BY_NAMESPACE = Index(
    "authorization policies by namespace", AUTHORIZATION_POLICIES, lambda ref, _: (ref.namespace,)
)
VIRTUAL_SERVICES_BY_HOST = Index(
    "virtual services by host",
    VIRTUAL_SERVICES,
    lambda ref, row: [host_key(host, ref.namespace) for host in row.spec.hosts],
)
VIRTUAL_SERVICES_BY_GATEWAY = Index(
    "virtual services by gateway", VIRTUAL_SERVICES, lambda ref, row: list_gateways(ref, row.spec.gateways)
)
VIRTUAL_SERVICES_BY_WILDCARD = Index("virtual services of the mesh by wildcard", VIRTUAL_SERVICES, _wildcards)
VIRTUAL_SERVICE_WILDCARDS = Index(
    "virtual services of the mesh with wildcards",
    VIRTUAL_SERVICES,
    lambda ref, row: (True,) if any(True for _ in _wildcards(ref, row)) else (),
)
VIRTUAL_SERVICES_BY_VIEWER = Index(
    "virtual services by the namespace they are exported to",
    VIRTUAL_SERVICES,
    lambda ref, row: _list_viewers(ref.namespace, row.spec.export_to),
)
VIRTUAL_SERVICES_BY_SOURCE = Index(
    "virtual services that ask who the client is",
    VIRTUAL_SERVICES,
    lambda _, row: (True,) if any(labels or namespace for labels, namespace in list_sources(row.spec)) else (),
)
DESTINATION_RULES_BY_HOST = Index(
    "destination rules by namespace and host",
    DESTINATION_RULES,
    lambda ref, row: [(ref.namespace, host_key(row.spec.host, ref.namespace))],
)
DESTINATION_RULES_BY_WILDCARD = Index(
    "destination rules with wildcards by namespace",
    DESTINATION_RULES,
    lambda ref, row: (ref.namespace,) if is_wildcard(row.spec.host) else (),
)
DESTINATION_RULES_BY_NAMESPACE = Index(
    "destination rules by namespace", DESTINATION_RULES, lambda ref, _: (ref.namespace,)
)
DESTINATION_RULES_BY_VIEWER = Index(
    "destination rules by the namespace they are exported to",
    DESTINATION_RULES,
    lambda ref, row: _list_viewers(ref.namespace, row.spec.export_to),
)
GATEWAYS_BY_SELECTOR = Index(
    "gateways by the first label they select, or none",
    GATEWAYS,
    lambda _, row: sorted(row.spec.selector.items())[:1] or [ANY_WORKLOAD],
)
