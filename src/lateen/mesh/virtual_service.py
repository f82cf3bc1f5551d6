"""VirtualServices as routing reads them: names resolved, delegates merged in, found by host or gateway.

VirtualService row -> VirtualService; (host, viewer) -> those of the mesh that route it; gateway -> those bound to it.

| who routes a host in the mesh | |
| --- | --- |
| one names it exactly | the oldest that does; others only where it has no route for the port |
| wildcards cover it | the most specific wildcard, of these the oldest |

Invariants: an object that holds no hosts is a delegate and routes nothing by itself; what is not exported to the viewer
is not there. Source: Istio's pilot/pkg/model (virtualservice.go, sidecar.go); SEMANTICS 1.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from lateen.api.http_route import HTTPMirrorPolicy, HTTPRoute, HTTPRouteDestination
from lateen.api.networking import Destination
from lateen.api.virtual_service import RouteDestination, TCPRoute, TLSRoute
from lateen.base.names import ObjectRef
from lateen.incremental.query import query
from lateen.mesh.delegate import merge_delegate
from lateen.mesh.hostname import list_host_keys, list_wildcards, resolve_host
from lateen.mesh.indexes import (
    MESH_GATEWAY,
    VIRTUAL_SERVICES_BY_GATEWAY,
    VIRTUAL_SERVICES_BY_HOST,
    VIRTUAL_SERVICES_BY_WILDCARD,
    list_gateways,
)
from lateen.mesh.inputs import VIRTUAL_SERVICES
from lateen.mesh.routing_rows import VirtualServiceRow
from lateen.mesh.visibility import mesh_settings, sees

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class VirtualService(msgspec.Struct, frozen=True, kw_only=True):
    """A VirtualService whose hosts are complete names and whose gateways are `namespace/name` or `mesh`."""

    ref: ObjectRef
    created: str
    hosts: tuple[str, ...]
    gateways: tuple[str, ...]
    http: tuple[HTTPRoute, ...]
    tls: tuple[TLSRoute, ...]
    tcp: tuple[TCPRoute, ...]


@query
def find_virtual_service(db: Database, ref: ObjectRef) -> VirtualService | None:
    """Return a VirtualService; a delegate is none."""
    row = db.get(VIRTUAL_SERVICES, ref)
    if row is None or not row.spec.hosts:
        return None
    domain = mesh_settings(db).short_name_domain
    return VirtualService(
        ref=ref,
        created=row.created,
        hosts=tuple(dict.fromkeys(resolve_host(host, ref.namespace, domain) for host in row.spec.hosts)),
        gateways=list_gateways(ref, row.spec.gateways),
        http=tuple(route for root in row.spec.http for route in _list_routes(db, ref, root, domain)),
        tls=tuple(
            msgspec.structs.replace(tls, route=_resolve_all(tls.route, ref.namespace, domain)) for tls in row.spec.tls
        ),
        tcp=tuple(
            msgspec.structs.replace(tcp, route=_resolve_all(tcp.route, ref.namespace, domain)) for tcp in row.spec.tcp
        ),
    )


def _list_routes(db: Database, ref: ObjectRef, root: HTTPRoute, domain: str) -> Iterable[HTTPRoute]:
    """Return a route, or those of the delegate that it leaves the rest to; an unknown delegate has none."""
    if root.delegate is None:
        return [_resolve_route(root, ref.namespace, domain)]
    delegate = ObjectRef(ref.kind, root.delegate.namespace or ref.namespace, root.delegate.name)
    row = db.get(VIRTUAL_SERVICES, delegate)
    if row is None or row.spec.hosts or not is_shown(db, delegate, row, ref.namespace):
        return []
    root = _resolve_route(root, ref.namespace, domain)
    own = [_resolve_route(route, delegate.namespace, domain) for route in row.spec.http if route.delegate is None]
    return merge_delegate(root, own)


def is_shown(db: Database, ref: ObjectRef, row: VirtualServiceRow, viewer: str) -> bool:
    """Whether a viewer sees a VirtualService."""
    return sees(row.spec.export_to, mesh_settings(db).virtual_service_export_to, ref.namespace, viewer)


def _resolve_route(route: HTTPRoute, namespace: str, domain: str) -> HTTPRoute:
    """Return the route with complete names of destinations, and of the gateways in its matches."""
    matches = tuple(
        msgspec.structs.replace(match, gateways=_resolve_gateways(match.gateways, namespace))
        if match.gateways
        else match
        for match in route.match
    )
    mirrors = tuple(_resolve_mirror(mirror, namespace, domain) for mirror in route.mirrors)
    mirror = None if route.mirror is None else _resolve(route.mirror, namespace, domain)
    destinations = tuple(
        msgspec.structs.replace(one, destination=_resolve(one.destination, namespace, domain)) for one in route.route
    )
    return msgspec.structs.replace(route, match=matches, route=destinations, mirror=mirror, mirrors=mirrors)


def _resolve_gateways(gateways: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    return tuple(name if name == MESH_GATEWAY or "/" in name else f"{namespace}/{name}" for name in gateways)


def _resolve_mirror(mirror: HTTPMirrorPolicy, namespace: str, domain: str) -> HTTPMirrorPolicy:
    return msgspec.structs.replace(mirror, destination=_resolve(mirror.destination, namespace, domain))


def _resolve(destination: Destination, namespace: str, domain: str) -> Destination:
    return msgspec.structs.replace(destination, host=resolve_host(destination.host, namespace, domain))


def _resolve_all(routes: tuple[RouteDestination, ...], namespace: str, domain: str) -> tuple[RouteDestination, ...]:
    return tuple(
        msgspec.structs.replace(one, destination=_resolve(one.destination, namespace, domain)) for one in routes
    )


@query
def mesh_candidates(db: Database, host: str, viewer: str) -> tuple[ObjectRef, ...]:
    """Return the VirtualServices of the mesh that may route a host, in the order in which they are tried."""
    keys = list_host_keys(host, mesh_settings(db).short_name_domain)
    exact = [ref for key in keys for ref in db.lookup(VIRTUAL_SERVICES_BY_HOST, key)]
    found = _select(db, exact, MESH_GATEWAY, viewer)
    if found:
        return found
    for wildcard in list_wildcards(host):
        found = _select(db, db.lookup(VIRTUAL_SERVICES_BY_WILDCARD, wildcard), MESH_GATEWAY, viewer)
        if found:
            return found[:1]
    return ()


@query
def gateway_virtual_services(db: Database, gateway: str, viewer: str) -> tuple[ObjectRef, ...]:
    """Return the VirtualServices bound to a gateway, `namespace/name`, that a viewer sees, oldest first."""
    return _select(db, db.lookup(VIRTUAL_SERVICES_BY_GATEWAY, gateway), gateway, viewer)


@query
def visible_mesh_services(db: Database, viewer: str) -> tuple[ObjectRef, ...]:
    """Return every VirtualService of the mesh that a viewer sees, oldest first."""
    return _select(db, db.lookup(VIRTUAL_SERVICES_BY_GATEWAY, MESH_GATEWAY), MESH_GATEWAY, viewer)


def _select(db: Database, refs: Iterable[ObjectRef], gateway: str, viewer: str) -> tuple[ObjectRef, ...]:
    """Return those of the objects that a viewer sees and that name the gateway, oldest first."""
    rows = {ref: db.get(VIRTUAL_SERVICES, ref) for ref in refs}
    seen = [
        (row.created, ref)
        for ref, row in rows.items()
        if row is not None
        and gateway in list_gateways(ref, row.spec.gateways)
        and row.spec.hosts
        and is_shown(db, ref, row, viewer)
    ]
    return tuple(ref for _, ref in sorted(seen))


def list_destinations(route: HTTPRoute) -> tuple[HTTPRouteDestination, ...]:
    """Return the destinations of a route that take traffic: a lone one whatever its weight."""
    return route.route if len(route.route) == 1 else tuple(one for one in route.route if one.weight > 0)
