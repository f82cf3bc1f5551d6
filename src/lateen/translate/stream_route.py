"""Where bytes to a service's port go: the TLS and TCP routes of VirtualServices, or the service itself.

(service, port, scope) -> routes of streams, in match order.

| port | routes | otherwise |
| --- | --- | --- |
| TLS, HTTPS | `tls`, by server name | to the service; by its host name where several share the address |
| TCP and detected | `tcp`, up to the first without conditions | to the service |

Invariants: a destination without port gets the port that the connection went to. Routes without destinations are left
out. Source: Istio's pilot/pkg/networking/core/tls.go; SEMANTICS 1.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from lateen.api.virtual_service import L4MatchAttributes, RouteDestination, TLSMatchAttributes
from lateen.base.names import ObjectRef, format_cluster_name
from lateen.mesh.protocol import Protocol
from lateen.mesh.routing_rows import is_subnet
from lateen.mesh.rows import Port, ServiceRef
from lateen.mesh.service import find_port, find_service
from lateen.mesh.virtual_service import find_virtual_service, mesh_candidates
from lateen.mesh.visibility import Scope
from lateen.translate.http_match import RouteContext
from lateen.translate.http_route import find_destination_cluster
from lateen.translate.unknown_host import build_context

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Clusters = tuple[tuple[str, int], ...]
"""(cluster, weight) pairs; a lone one takes everything."""


class StreamRoute(NamedTuple):
    """Connections to some server names and subnets, and where they go; no conditions take every connection."""

    server_names: tuple[str, ...]
    subnets: tuple[str, ...]
    clusters: Clusters


def is_tls(port: Port) -> bool:
    """Whether a port carries TLS that is told apart by server name."""
    return port.protocol in {Protocol.TLS, Protocol.HTTPS}


def service_stream_routes(
    db: Database, ref: ServiceRef, number: int, scope: Scope, by_name: bool
) -> tuple[StreamRoute, ...]:
    """Return the routes of connections to a service's port; `by_name` where its address is not its own."""
    service = find_service(db, ref)
    port = find_port(service, number)
    if service is None or port is None:
        return ()
    context = build_context(number, scope)
    candidates = mesh_candidates(db, service.host, scope.viewer)
    own = ((format_cluster_name("outbound", number, "", service.host), 0),)
    if is_tls(port):
        routes = [route for one in candidates for route in list_tls_routes(db, one, context)]
        return tuple(routes) or (StreamRoute((service.host,) if by_name else (), (), own),)
    routes = list_tcp_routes(db, candidates, context)
    if any(not route.subnets for route in routes):
        return tuple(routes)
    return (*routes, StreamRoute((), (), own))


def list_tls_routes(db: Database, ref: ObjectRef, context: RouteContext) -> list[StreamRoute]:
    """Return the TLS routes of a VirtualService that apply."""
    service = find_virtual_service(db, ref)
    return [
        StreamRoute(tuple(match.sni_hosts), _list_subnets([match]), build_clusters(db, route.route, context))
        for route in (service.tls if service is not None else ())
        if route.route
        for match in route.match
        if applies_to_stream(match, context)
    ]


def list_tcp_routes(db: Database, refs: Iterable[ObjectRef], context: RouteContext) -> list[StreamRoute]:
    """Return the TCP routes of VirtualServices that apply, up to the first that takes every connection."""
    found: list[StreamRoute] = []
    for ref in refs:
        service = find_virtual_service(db, ref)
        for route in service.tcp if service is not None else ():
            matches = [match for match in route.match if applies_to_stream(match, context)]
            if not route.route or (route.match and not matches):
                continue
            open_match = not route.match or any(not match.destination_subnets for match in matches)
            subnets = () if open_match else _list_subnets(matches)
            if not open_match and not subnets:
                continue
            found.append(StreamRoute((), subnets, build_clusters(db, route.route, context)))
            if open_match:
                return found
    return found


def _list_subnets(matches: Iterable[L4MatchAttributes | TLSMatchAttributes]) -> tuple[str, ...]:
    return tuple(net for match in matches for net in match.destination_subnets if is_subnet(net))


def applies_to_stream(match: L4MatchAttributes | TLSMatchAttributes, context: RouteContext) -> bool:
    """Whether a match is for this port, and for this gateway or client."""
    if match.port and match.port != context.port:
        return False
    if match.gateways:
        return context.gateway in match.gateways
    if not set(match.source_labels.items()) <= set(context.labels):
        return False
    return not match.source_namespace or match.source_namespace == context.namespace


def build_clusters(db: Database, destinations: tuple[RouteDestination, ...], context: RouteContext) -> Clusters:
    """Return the clusters of destinations with their shares."""
    if len(destinations) == 1:
        return ((find_destination_cluster(db, destinations[0].destination, context), 0),)
    return tuple(
        (find_destination_cluster(db, one.destination, context), one.weight) for one in destinations if one.weight > 0
    )
