"""One outbound listener: its filter chains, and the listener filters that they need.

(address, port, services) -> `envoy.config.listener.v3.Listener`.

| chain | takes |
| --- | --- |
| plain HTTP, of HTTP and detected ports | requests |
| by server name or subnet | connections that match |
| without condition, the first service's | other bytes |
| PassthroughFilterChain, where there is none | what nobody declared |

Invariants: no two chains match the same; bytes are looked into only where a chain needs to know.
Source: Istio's pilot/pkg/networking/core/listener.go; Envoy's listener.proto (order of matching).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.incremental.query import query
from lateen.mesh.rows import ServiceRef
from lateen.mesh.service import find_port, find_service
from lateen.mesh.visibility import Scope, mesh_settings
from lateen.translate.catch_all import build_catch_all
from lateen.translate.cluster import BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER
from lateen.translate.filter import (
    build_detected_stream_filters,
    build_outbound_http_filters,
    build_tcp_filters,
    build_weighted_tcp_filters,
)
from lateen.translate.socket_address import NEVER, build_address
from lateen.translate.stream_route import Clusters, StreamRoute, service_stream_routes
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Listener = message_class("envoy.config.listener.v3.Listener")
ListenerFilter = message_class("envoy.config.listener.v3.ListenerFilter")
FilterChain = message_class("envoy.config.listener.v3.FilterChain")
HttpInspector = message_class("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")
TlsInspector = message_class("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")
RouteConfiguration = message_class("envoy.config.route.v3.RouteConfiguration")

OUTBOUND_PORT = 15001  # the pod's nft rules redirect to it.
INBOUND_PORT = 15006  # likewise.
ANY_ADDRESS = "0.0.0.0"
HTTP_PROTOCOLS = ["http/1.1", "h2c"]
PLAIN_HTTP = {"transport_protocol": "raw_buffer", "application_protocols": HTTP_PROTOCOLS}
"""The filter chain match of requests without TLS, as the HTTP inspector reports them."""

_CONNECT_TIMEOUT = {"seconds": 15}
_TLS_READ_BYTES = 512


@query
def virtual_outbound(db: Database, allow_any: bool) -> Resource:
    """Return the listener that all outbound connections come to first."""
    settings = mesh_settings(db)
    dynamic = allow_any and settings.dynamic_dns
    chains = [
        FilterChain(
            name="virtualOutbound-blackhole",
            filter_chain_match={"destination_port": {"value": OUTBOUND_PORT}},
            filters=build_tcp_filters(BLACK_HOLE_CLUSTER),
        ),
        FilterChain(name="virtualOutbound-catchall-tcp", filters=_build_undeclared_filters(allow_any=allow_any)),
    ]
    if dynamic:
        routes = RouteConfiguration(
            name="allow_any_dynamic_dns",
            virtual_hosts=[build_catch_all(db, allow_any=True)],
            validate_clusters={"value": False},
        )
        filters = build_outbound_http_filters(
            "outbound_virtualOutbound_allow_any_dynamic_dns", routes, settings.path_normalization, dynamic_dns=True
        )
        match = {"application_protocols": HTTP_PROTOCOLS}
        chains.append(FilterChain(name="virtualOutbound-catchall-tcp-http", filter_chain_match=match, filters=filters))
    listener = Listener(
        name="virtualOutbound",
        address=build_address(ANY_ADDRESS, OUTBOUND_PORT),
        filter_chains=chains,
        use_original_dst={"value": True},
        listener_filters=[build_http_inspector()] if dynamic else [],
        listener_filters_timeout=NEVER if dynamic else None,
        continue_on_listener_filters_timeout=dynamic,
        traffic_direction="OUTBOUND",
        max_connections_to_accept_per_socket_event={"value": 1},
    )
    return build_resource(listener)


def build_outbound_listener(
    db: Database, address: str, port: int, services: list[tuple[ServiceRef, int]], scope: Scope, *, http: bool = False
) -> Resource:
    """Return the listener of an address for (service, service's port) pairs, oldest first."""
    settings = mesh_settings(db)
    route_name = str(port) if http else None
    chains: list[EnvoyMessage] = []
    plain: EnvoyMessage | None = None
    taken: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    for ref, number in services:
        service = find_service(db, ref)
        known = find_port(service, number)
        if service is None or known is None:
            continue
        if known.protocol.is_detected and route_name is None and plain is None:
            route_name = str(port) if address == ANY_ADDRESS else f"{service.host}:{number}"
        for route in service_stream_routes(db, ref, number, scope, address == ANY_ADDRESS):
            subnets = route.subnets or tuple(one for one in service.addresses if "/" in one and address == ANY_ADDRESS)
            if (route.server_names, subnets) in taken:
                continue
            taken.add((route.server_names, subnets))
            if http and not route.server_names and not subnets:
                continue
            chain = _build_stream_chain(route, subnets, detected=known.protocol.is_detected)
            if route.server_names or subnets:
                chains.append(chain)
            else:
                plain = chain
    if route_name is not None:
        filters = build_outbound_http_filters(
            f"outbound_{address}_{port}", route_name, settings.path_normalization, dynamic_dns=settings.dynamic_dns
        )
        chains.insert(0, _build_chain(filters, PLAIN_HTTP))
    return build_resource(_build_listener(address, port, chains, plain, http=route_name is not None, scope=scope))


def build_http_inspector(**fields: Any) -> EnvoyMessage:
    """Return the listener filter that tells requests from other bytes."""
    config = pack_any(HttpInspector())
    return ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=config, **fields)


def build_tls_inspector(**fields: Any) -> EnvoyMessage:
    """Return the listener filter that reads the server name and ALPN of a TLS handshake."""
    config = pack_any(TlsInspector(initial_read_buffer_size={"value": _TLS_READ_BYTES}))
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=config, **fields)


def build_stream_filters(clusters: Clusters) -> list[EnvoyMessage]:
    """Return the filters that carry bytes to clusters by their shares; nobody's share is refused."""
    if not clusters:
        return build_tcp_filters(BLACK_HOLE_CLUSTER)
    first = clusters[0][0]
    return build_tcp_filters(first) if len(clusters) == 1 else build_weighted_tcp_filters(first, clusters)


def build_prefixes(subnets: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return subnets, or single addresses, as Envoy has them."""
    found = []
    for subnet in subnets:
        address, _, length = subnet.partition("/")
        bits = int(length) if length else (128 if ":" in address else 32)
        found.append({"address_prefix": address, "prefix_len": {"value": bits}})
    return found


def _build_stream_chain(route: StreamRoute, subnets: tuple[str, ...], *, detected: bool) -> EnvoyMessage:
    match: dict[str, Any] = {}
    if route.server_names:
        match["server_names"] = list(route.server_names)
    if subnets:
        match["prefix_ranges"] = build_prefixes(subnets)
    if detected and len(route.clusters) == 1:
        return _build_chain(build_detected_stream_filters(route.clusters[0][0]), match)
    return _build_chain(build_stream_filters(route.clusters), match)


def _build_chain(filters: list[EnvoyMessage], match: dict[str, Any]) -> EnvoyMessage:
    return FilterChain(
        filters=filters, filter_chain_match=match or None, transport_socket_connect_timeout=_CONNECT_TIMEOUT
    )


def _build_listener(
    address: str, port: int, chains: list[EnvoyMessage], plain: EnvoyMessage | None, *, http: bool, scope: Scope
) -> EnvoyMessage:
    """Return an unbound listener; bytes are looked into where a chain depends on them."""
    inspectors = [build_tls_inspector()] if any(chain.filter_chain_match.server_names for chain in chains) else []
    inspectors += [build_http_inspector()] if http else []
    if not chains and plain is not None:
        chains, default = [plain], None
    else:
        default = plain or FilterChain(
            name="PassthroughFilterChain",
            filter_chain_match={},
            filters=_build_undeclared_filters(allow_any=scope.allow_any),
        )
    return Listener(
        name=f"{address}_{port}",
        address=build_address(address, port),
        filter_chains=chains,
        default_filter_chain=default,
        listener_filters=inspectors,
        listener_filters_timeout=NEVER,
        continue_on_listener_filters_timeout=True,
        traffic_direction="OUTBOUND",
        bind_to_port={"value": False},
    )


def _build_undeclared_filters(*, allow_any: bool) -> list[EnvoyMessage]:
    return build_tcp_filters(PASSTHROUGH_CLUSTER if allow_any else BLACK_HOLE_CLUSTER)
