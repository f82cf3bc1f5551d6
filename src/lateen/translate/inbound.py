"""The inbound listener: which connections reach the app beside the proxy, and how they must come.

Workload -> `virtualInbound`, whose filter chains are chosen by port, TLS and ALPN:

| mode | from the mesh (TLS with an `istio*` ALPN) | other TLS | plain text |
| --- | --- | --- | --- |
| PERMISSIVE | mutual TLS ends here | bytes to the app, never as requests | yes |
| STRICT | mutual TLS ends here | must be mutual TLS of the mesh | refused |
| DISABLE | as plain text | as plain text | yes |

A port that services target has the chains of its declared protocol; the others, and ports with a mode of their own,
have chains that detect requests. Traffic to 15006 itself would loop, and is refused.
Invariants: depends on the workload and its targets only, so replicas share it; listener filters look into a
connection only on ports where a chain needs to know.
Source: Istio's pilot/pkg/networking/core/listener_inbound.go and networking/plugin/authn; SEMANTICS 1.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.incremental.query import query
from lateen.mesh.authn import MutualTls, PeerPolicy, peer_policy
from lateen.mesh.protocol import Protocol
from lateen.mesh.service import Target, Workload, find_service, targets
from lateen.mesh.visibility import mesh_settings
from lateen.translate.authorization_filter import Guards, build_guards
from lateen.translate.cluster import BLACK_HOLE_CLUSTER
from lateen.translate.filter import (
    build_inbound_http_filters,
    build_network_filters,
    build_tcp_filters,
)
from lateen.translate.inbound_app import (
    INBOUND_PASSTHROUGH_CLUSTER,
    build_inbound_routes,
    format_inbound_cluster,
)
from lateen.translate.outbound_listener import (
    ANY_ADDRESS,
    INBOUND_PORT,
    PLAIN_HTTP,
    build_http_inspector,
    build_tls_inspector,
)
from lateen.translate.socket_address import NEVER, build_address
from lateen.translate.tls import (
    MESH_ALPN,
    MESH_HTTP_ALPN,
    MESH_STREAM_ALPN,
    SERVER_ALPN,
    build_downstream_tls,
)
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Listener = message_class("envoy.config.listener.v3.Listener")
ListenerFilter = message_class("envoy.config.listener.v3.ListenerFilter")
PortMatch = message_class("envoy.config.listener.v3.ListenerFilterChainMatchPredicate")
FilterChain = message_class("envoy.config.listener.v3.FilterChain")
OriginalDst = message_class("envoy.extensions.filters.listener.original_dst.v3.OriginalDst")

_PLAIN = {"transport_protocol": "raw_buffer"}
_TLS = {"transport_protocol": "tls"}


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """A port, or with port 0 every port that has no door of its own, and what it lets in."""

    port: int
    protocol: Protocol
    mode: MutualTls
    cluster: str
    name: str
    http_name: str
    stat_prefix: str
    route_port: int
    operation: str
    guards: Guards

    @property
    def needs_tls_inspection(self) -> bool:
        """Whether the chain depends on TLS."""
        return self.mode is not MutualTls.DISABLE

    @property
    def needs_http_inspection(self) -> bool:
        """Whether the chain of plain text depends on what it says."""
        return self.protocol.is_detected and self.mode is not MutualTls.STRICT


@query
def inbound_listener(db: Database, workload: Workload, addressed: tuple[Target, ...]) -> Resource:
    """Return `virtualInbound` of a workload; `addressed` are targets that only its address tells."""
    policy = peer_policy(db, workload.namespace, workload.labels)
    settings = mesh_settings(db)
    guards = build_guards(db, workload.namespace, workload.labels)
    doors = _list_doors(db, policy, targets(db, workload, addressed), guards)
    tls = build_downstream_tls((settings.trust_domain, *settings.trust_domain_aliases), SERVER_ALPN)
    black_hole = FilterChain(
        name="virtualInbound-blackhole",
        filter_chain_match={"destination_port": {"value": INBOUND_PORT}},
        filters=build_tcp_filters(BLACK_HOLE_CLUSTER),
    )
    listener = Listener(
        name="virtualInbound",
        address=build_address(ANY_ADDRESS, INBOUND_PORT),
        filter_chains=[black_hole, *(chain for door in doors for chain in _build_chains(door, tls))],
        listener_filters=_build_listener_filters(doors),
        listener_filters_timeout=NEVER,
        continue_on_listener_filters_timeout=True,
        traffic_direction="INBOUND",
        max_connections_to_accept_per_socket_event={"value": 1},
    )
    return build_resource(listener)


def _list_doors(
    db: Database, policy: PeerPolicy, ports: tuple[tuple[int, tuple[Target, ...]], ...], guards: Guards
) -> list[Door]:
    """Return the doors of a workload: the one for all ports first, then by port number."""
    doors = {port: _build_open_door(port, mode, guards) for port, mode in policy.ports}
    for port, found in ports:
        service = find_service(db, found[0].ref)
        assert service is not None, "a target without its service"
        protocol = next(one.protocol for one in service.ports if one.number == found[0].service_port)
        name = f"{ANY_ADDRESS}_{port}"
        doors[port] = Door(
            port=port,
            protocol=protocol,
            mode=policy.get_mode(port),
            cluster=format_inbound_cluster(port),
            name=name,
            http_name=name,
            stat_prefix=f"inbound_{name}",
            route_port=found[0].service_port,
            operation=f"{service.host}:{found[0].service_port}/*",
            guards=guards,
        )
    return [_build_open_door(0, policy.mode, guards), *(doors[port] for port in sorted(doors))]


def _build_open_door(port: int, mode: MutualTls, guards: Guards) -> Door:
    return Door(
        port=port,
        protocol=Protocol.AUTO,
        mode=mode,
        cluster=INBOUND_PASSTHROUGH_CLUSTER,
        name="virtualInbound",
        http_name="virtualInbound-catchall-http",
        stat_prefix=INBOUND_PASSTHROUGH_CLUSTER,
        route_port=0,
        operation=":0/*",
        guards=guards,
    )


def _build_chains(door: Door, tls: EnvoyMessage) -> list[EnvoyMessage]:
    """Return the filter chains of a door; Envoy picks by the match, not by the order."""
    match door.mode:
        case MutualTls.DISABLE:
            return _build_plain_chains(door)
        case MutualTls.STRICT:
            return _build_mutual_chains(door, tls, strict=True)
        case MutualTls.PERMISSIVE:
            chains = _build_mutual_chains(door, tls, strict=False) + _build_plain_chains(door)
            if not door.protocol.is_http:
                chains.append(_build_chain(door, _TLS, _build_bytes(door)))
            return chains


def _build_plain_chains(door: Door) -> list[EnvoyMessage]:
    if door.protocol.is_http:
        return [_build_chain(door, _PLAIN, _build_requests(door))]
    chains = [_build_chain(door, _PLAIN, _build_bytes(door))]
    if door.protocol.is_detected:
        chains.insert(0, _build_chain(door, PLAIN_HTTP, _build_requests(door), name=door.http_name))
    return chains


def _build_mutual_chains(door: Door, tls: EnvoyMessage, *, strict: bool) -> list[EnvoyMessage]:
    if door.protocol.is_http:
        return [_build_chain(door, _match_mesh(MESH_ALPN, strict=strict), _build_requests(door), tls)]
    if not door.protocol.is_detected:
        return [_build_chain(door, _match_mesh(MESH_ALPN, strict=strict), _build_bytes(door), tls)]
    requests = _match_mesh(MESH_HTTP_ALPN, strict=False)
    streams = _match_mesh(MESH_STREAM_ALPN, strict=strict)
    return [
        _build_chain(door, requests, _build_requests(door), tls, name=door.http_name),
        _build_chain(door, streams, _build_bytes(door), tls),
    ]


def _match_mesh(alpn: Iterable[str], *, strict: bool) -> dict[str, Any]:
    """Return the match of the mesh's TLS; where all TLS must be the mesh's, no ALPN is asked for."""
    return _TLS if strict else _TLS | {"application_protocols": list(alpn)}


def _build_requests(door: Door) -> list[EnvoyMessage]:
    routes = build_inbound_routes(door.cluster, door.route_port, door.operation)
    return build_inbound_http_filters(door.stat_prefix, routes, door.guards.normalization, door.guards.requests)


def _build_bytes(door: Door) -> list[EnvoyMessage]:
    return [*build_network_filters(door.guards.streams), *build_tcp_filters(door.cluster)]


def _build_chain(
    door: Door,
    match: dict[str, Any],
    filters: list[EnvoyMessage],
    tls: EnvoyMessage | None = None,
    *,
    name: str | None = None,
) -> EnvoyMessage:
    port = {"destination_port": {"value": door.port}} if door.port else {}
    return FilterChain(name=name or door.name, filter_chain_match=match | port, filters=filters, transport_socket=tls)


def _build_listener_filters(doors: list[Door]) -> list[EnvoyMessage]:
    filters = [ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=pack_any(OriginalDst()))]
    everywhere, *ports = doors
    tls = {door.port: door.needs_tls_inspection for door in ports}
    if everywhere.needs_tls_inspection or any(tls.values()):
        disabled = _match_uninspected(tls, everywhere=everywhere.needs_tls_inspection)
        filters.append(build_tls_inspector(filter_disabled=disabled))
    http = {door.port: door.needs_http_inspection for door in ports}
    if everywhere.needs_http_inspection or any(http.values()):
        disabled = _match_uninspected(http, everywhere=everywhere.needs_http_inspection)
        filters.append(build_http_inspector(filter_disabled=disabled))
    return filters


def _match_uninspected(ports: dict[int, bool], *, everywhere: bool) -> EnvoyMessage:
    """Return the ports on which a listener filter has nothing to find out."""
    if everywhere:
        return _match_any([port for port, inspected in ports.items() if not inspected] + [INBOUND_PORT])
    return PortMatch(not_match=_match_any([port for port, inspected in ports.items() if inspected]))


def _match_any(ports: list[int]) -> EnvoyMessage:
    rules = [PortMatch(destination_port_range={"start": port, "end": port + 1}) for port in ports]
    return rules[0] if len(rules) == 1 else PortMatch(or_match={"rules": rules})
