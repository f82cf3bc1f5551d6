"""The listeners of gateways.

ports of a gateway -> `envoy.config.listener.v3.Listener`, one for each port and address.

| server | filter chain |
| --- | --- |
| HTTP | requests by host (RDS `http.PORT`), one chain for all |
| HTTPS that ends here | by server name, requests by host (RDS `https.PORT.NAME.GATEWAY.NAMESPACE`) |
| TLS that ends here | by server name, bytes by the TCP routes bound to it |
| TLS that passes | one for each TLS route bound to it, by its server names |
| TCP | bytes by the first TCP route bound to it |

Invariants: of two chains with one server name the first counts; a port of which no chain is left has no listener.
Source: Istio's pilot/pkg/networking/core/gateway.go; SEMANTICS 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.names import ObjectRef
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.incremental.query import query
from lateen.mesh.gateway import PASSTHROUGH_MODES, GatewayPort, GatewayServer, PortMap, gateway_ports
from lateen.mesh.rows import Labels
from lateen.mesh.virtual_service import gateway_virtual_services
from lateen.mesh.visibility import mesh_settings
from lateen.translate.authorization_filter import Guards, build_guards
from lateen.translate.filter import build_gateway_http_filters, build_network_filters
from lateen.translate.gateway_route import list_common_hosts
from lateen.translate.gateway_tls import build_server_tls
from lateen.translate.http_match import RouteContext
from lateen.translate.outbound_listener import ANY_ADDRESS, build_stream_filters, build_tls_inspector
from lateen.translate.socket_address import build_address
from lateen.translate.stream_route import list_tcp_routes, list_tls_routes
from lateen.xds.resources import Resource, ResourceSet, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Listener = message_class("envoy.config.listener.v3.Listener")
FilterChain = message_class("envoy.config.listener.v3.FilterChain")

_CONNECT_TIMEOUT = {"seconds": 15}


@query
def gateway_listeners(db: Database, namespace: str, labels: Labels, ports: PortMap, viewer: str) -> ResourceSet:
    """Return the listeners of the gateway that workloads of a namespace with these labels are."""
    guards = build_guards(db, namespace, labels)
    found = [_build_listener(db, port, viewer, guards) for port in gateway_ports(db, labels, ports)]
    return ResourceSet(listener for listener in found if listener is not None)


def _build_listener(db: Database, port: GatewayPort, viewer: str, guards: Guards) -> Resource | None:
    address = port.bind or ANY_ADDRESS
    stat_prefix = f"outbound_{address}_{port.number}"
    if port.protocol.is_http:
        filters = build_gateway_http_filters(
            stat_prefix, port.servers[0].route_name, guards.normalization, guards.requests
        )
        chains = [FilterChain(filters=filters, transport_socket_connect_timeout=_CONNECT_TIMEOUT)]
    else:
        taken: set[tuple[str, ...]] = set()
        chains = [
            chain
            for server in port.servers
            for chain in _build_chains(db, server, stat_prefix, viewer, guards)
            if not _overlaps(tuple(chain.filter_chain_match.server_names), taken)
        ]
    if not chains:
        return None
    listener = Listener(
        name=f"{address}_{port.number}",
        address=build_address(address, port.number),
        filter_chains=chains,
        listener_filters=[build_tls_inspector()] if any(server.server.tls for server in port.servers) else [],
        traffic_direction="OUTBOUND",
        max_connections_to_accept_per_socket_event={"value": 1},
    )
    return build_resource(listener)


def _overlaps(names: tuple[str, ...], taken: set[tuple[str, ...]]) -> bool:
    """Whether a chain before has one of the server names; if not, they are taken now."""
    keys: set[tuple[str, ...]] = {(name,) for name in names} or {()}
    if keys & taken:
        return True
    taken.update(keys)
    return False


def _build_chains(
    db: Database, server: GatewayServer, stat_prefix: str, viewer: str, guards: Guards
) -> list[EnvoyMessage]:
    """Return the filter chains of a server that carries TLS or bytes."""
    tls = server.server.tls
    if tls is not None and tls.mode in PASSTHROUGH_MODES:
        return _build_passing_chains(db, server, viewer, guards)
    match = {"server_names": list(server.server_names)} if server.server_names else None
    settings = mesh_settings(db)
    domains = (settings.trust_domain, *settings.trust_domain_aliases)
    socket = None if tls is None else build_server_tls(tls, domains, requests=bool(server.route_name))
    if server.route_name:
        filters = build_gateway_http_filters(
            server.server.name or stat_prefix, server.route_name, guards.normalization, guards.requests
        )
    else:
        bound = _list_bound(db, server, viewer)
        routes = [route for ref in bound for route in list_tcp_routes(db, [ref], _build_context(server, viewer))]
        if not routes:
            return []
        filters = [*build_network_filters(guards.streams), *build_stream_filters(routes[0].clusters)]
    return [
        FilterChain(
            filter_chain_match=match,
            filters=filters,
            transport_socket=socket,
            transport_socket_connect_timeout=_CONNECT_TIMEOUT,
        )
    ]


def _build_passing_chains(db: Database, server: GatewayServer, viewer: str, guards: Guards) -> list[EnvoyMessage]:
    context = _build_context(server, viewer)
    routes = [route for ref in _list_bound(db, server, viewer) for route in list_tls_routes(db, ref, context)]
    return [
        FilterChain(
            filter_chain_match={"server_names": [name for name in route.server_names if name != "*"]},
            filters=[*build_network_filters(guards.streams), *build_stream_filters(route.clusters)],
            transport_socket_connect_timeout=_CONNECT_TIMEOUT,
        )
        for route in routes
    ]


def _list_bound(db: Database, server: GatewayServer, viewer: str) -> list[ObjectRef]:
    """Return the VirtualServices bound to a server, oldest first."""
    bound = gateway_virtual_services(db, server.gateway, viewer)
    return [ref for ref in bound if list_common_hosts(db, server, ref)]


def _build_context(server: GatewayServer, viewer: str) -> RouteContext:
    return RouteContext(port=server.server.port.number, gateway=server.gateway, viewer=viewer)
