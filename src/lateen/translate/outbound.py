"""Outbound listeners: where connections of the app beside the proxy go.

Scope -> `envoy.config.listener.v3.Listener`s, a tree by namespace. Only `virtualOutbound` is bound; it hands a
connection to the listener of its original destination:

| port of a service | listener | takes |
| --- | --- | --- |
| HTTP | `0.0.0.0_PORT`, one for all services | requests by host (RDS `PORT`); other bytes as undeclared |
| stream, with virtual address | `ADDRESS_PORT` | bytes |
| detected, with virtual address | `ADDRESS_PORT` | requests (RDS `HOST:PORT`), other bytes |
| stream or detected, headless | `ADDRESS_PORT` of each backend | the same |

What no listener takes is passed on (ALLOW_ANY) or refused (REGISTRY_ONLY). Traffic to 15001 itself would loop, and is
refused.
Source: Istio's pilot/pkg/networking/core/listener.go. We differ: a headless service's listener for the proxy's own
address is kept, so that proxies share one computation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lateen.base.names import ObjectRef, format_cluster_name
from lateen.envoy.bootstrap import PROMETHEUS_PORT, READINESS_PORT
from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.incremental.query import query
from lateen.mesh.endpoint import backends
from lateen.mesh.rows import ServicePort
from lateen.mesh.service import Service, find_service
from lateen.mesh.visibility import Scope, service_namespaces, visible_services
from lateen.translate.cluster import BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER
from lateen.translate.filter import build_detected_stream_filters, build_outbound_http_filters, build_tcp_filters
from lateen.translate.socket_address import NEVER, build_address
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Listener = message_class("envoy.config.listener.v3.Listener")
ListenerFilter = message_class("envoy.config.listener.v3.ListenerFilter")
FilterChain = message_class("envoy.config.listener.v3.FilterChain")
HttpInspector = message_class("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")

OUTBOUND_PORT = 15001  # the pod's nft rules redirect to it.
INBOUND_PORT = 15006  # likewise.
ANY_ADDRESS = "0.0.0.0"
PLAIN_HTTP = {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]}
"""The filter chain match of requests without TLS, as the HTTP inspector reports them."""

_RESERVED_PORTS = {OUTBOUND_PORT, INBOUND_PORT, READINESS_PORT, PROMETHEUS_PORT}
_CONNECT_TIMEOUT = {"seconds": 15}


@query
def outbound_listeners(db: Database, scope: Scope) -> tuple[Resource, ...]:
    """Return every outbound listener of a scope; of two with one address the first service's counts."""
    found = {"virtualOutbound": virtual_outbound(db, scope.allow_any)}
    for port in http_ports(db, scope.viewer):
        listener = http_listener(db, port, scope.allow_any)
        found[listener.name] = listener
    for namespace in service_namespaces(db):
        for listener in namespace_listeners(db, namespace, scope.viewer):
            found.setdefault(listener.name, listener)
    return tuple(found.values())


@query
def http_ports(db: Database, viewer: str) -> tuple[int, ...]:
    """Return the numbers of the HTTP ports that a viewer sees."""
    ports = {port for namespace in service_namespaces(db) for port in namespace_http_ports(db, namespace, viewer)}
    return tuple(sorted(ports - _RESERVED_PORTS))


@query
def namespace_http_ports(db: Database, namespace: str, viewer: str) -> tuple[int, ...]:
    """Return the numbers of the HTTP ports of one namespace's services."""
    ports = {port for ref in visible_services(db, namespace, viewer) for port in service_http_ports(db, ref)}
    return tuple(sorted(ports))


@query
def service_http_ports(db: Database, ref: ObjectRef) -> tuple[int, ...]:
    """Return the numbers of a service's HTTP ports."""
    service = find_service(db, ref)
    return () if service is None else tuple(port.number for port in service.ports if port.protocol.is_http)


@query
def namespace_listeners(db: Database, namespace: str, viewer: str) -> tuple[Resource, ...]:
    """Return the listeners of the addresses of one namespace's services."""
    refs = visible_services(db, namespace, viewer)
    return tuple(listener for ref in refs for listener in service_listeners(db, ref))


@query
def service_listeners(db: Database, ref: ObjectRef) -> tuple[Resource, ...]:
    """Return the listeners of a service's own addresses, for the ports that are no HTTP."""
    service = find_service(db, ref)
    if service is None:
        return ()
    return tuple(
        _build_address_listener(service, port, address, number)
        for port in service.ports
        if not port.protocol.is_http
        for address, number in _list_addresses(db, service, port)
    )


@query
def virtual_outbound(db: Database, allow_any: bool) -> Resource:
    """Return the listener that all outbound connections come to first."""
    chains = [
        FilterChain(
            name="virtualOutbound-blackhole",
            filter_chain_match={"destination_port": {"value": OUTBOUND_PORT}},
            filters=build_tcp_filters(BLACK_HOLE_CLUSTER),
        ),
        FilterChain(name="virtualOutbound-catchall-tcp", filters=_build_undeclared_filters(allow_any=allow_any)),
    ]
    listener = Listener(
        name="virtualOutbound",
        address=build_address(ANY_ADDRESS, OUTBOUND_PORT),
        filter_chains=chains,
        use_original_dst={"value": True},
        traffic_direction="OUTBOUND",
        max_connections_to_accept_per_socket_event={"value": 1},
    )
    return build_resource(listener)


@query
def http_listener(db: Database, port: int, allow_any: bool) -> Resource:
    """Return the listener of all HTTP services on a port number."""
    chain = _build_chain(build_outbound_http_filters(f"outbound_{ANY_ADDRESS}_{port}", str(port)), PLAIN_HTTP)
    otherwise = FilterChain(
        name="PassthroughFilterChain", filter_chain_match={}, filters=_build_undeclared_filters(allow_any=allow_any)
    )
    return build_resource(_build_listener(ANY_ADDRESS, port, [chain], otherwise))


def build_http_inspector(**fields: Any) -> EnvoyMessage:
    """Return the listener filter that tells requests from other bytes."""
    config = pack_any(HttpInspector())
    return ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=config, **fields)


def _list_addresses(db: Database, service: Service, port: ServicePort) -> list[tuple[str, int]]:
    if service.headless:
        return [(backend.address, backend.port) for backend in backends(db, service.ref, port.number) if backend.ready]
    return [(address, port.number) for address in service.addresses]


def _build_address_listener(service: Service, port: ServicePort, address: str, number: int) -> Resource:
    cluster = format_cluster_name("outbound", port.number, "", service.host)
    if not port.protocol.is_detected:
        return build_resource(_build_listener(address, number, [_build_chain(build_tcp_filters(cluster))]))
    routes = f"{service.host}:{port.number}"
    chain = _build_chain(build_outbound_http_filters(f"outbound_{address}_{number}", routes), PLAIN_HTTP)
    otherwise = _build_chain(build_detected_stream_filters(cluster), {})
    return build_resource(_build_listener(address, number, [chain], otherwise))


def _build_chain(filters: list[EnvoyMessage], match: dict[str, Any] | None = None) -> EnvoyMessage:
    return FilterChain(filters=filters, filter_chain_match=match, transport_socket_connect_timeout=_CONNECT_TIMEOUT)


def _build_listener(
    address: str, port: int, chains: list[EnvoyMessage], default_chain: EnvoyMessage | None = None
) -> EnvoyMessage:
    """Return an unbound listener; with a default chain, requests are told from other bytes first."""
    return Listener(
        name=f"{address}_{port}",
        address=build_address(address, port),
        filter_chains=chains,
        default_filter_chain=default_chain,
        listener_filters=[] if default_chain is None else [build_http_inspector()],
        listener_filters_timeout=NEVER,
        continue_on_listener_filters_timeout=True,
        traffic_direction="OUTBOUND",
        bind_to_port={"value": False},
    )


def _build_undeclared_filters(*, allow_any: bool) -> list[EnvoyMessage]:
    return build_tcp_filters(PASSTHROUGH_CLUSTER if allow_any else BLACK_HOLE_CLUSTER)
