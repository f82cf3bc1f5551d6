"""Network filters and HTTP filters: what a listener does with a connection.

(direction, statistics name, routes) -> `envoy.config.listener.v3.Filter`.

Invariants: HTTP filters stand in one list, in the order in which they run, with the reason beside each; statistics
names end in `;` (see envoy.stats). Inbound connection managers append the peer to `x-forwarded-client-cert`, so that
an app sees both SPIFFE ids (`By` is the server's, `URI` the client's); outbound ones drop what an app claims there.
Source: Istio's pilot/pkg/networking/core (buildHTTPConnectionManager).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.translate.cluster import DYNAMIC_DNS_CACHE
from lateen.translate.http_policy import CORS_FILTER, FAULT_FILTER
from lateen.translate.socket_address import NEVER, build_ads_source
from lateen.translate.tls import STREAM_ALPN

Filter = message_class("envoy.config.listener.v3.Filter")
TcpProxy = message_class("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")
ConnectionManager = message_class("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")
HttpFilter = message_class("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter")
HTTPFault = message_class("envoy.extensions.filters.http.fault.v3.HTTPFault")
Cors = message_class("envoy.extensions.filters.http.cors.v3.Cors")
DynamicForwardProxy = message_class("envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig")
Router = message_class("envoy.extensions.filters.http.router.v3.Router")
SetFilterState = message_class("envoy.extensions.filters.network.set_filter_state.v3.Config")

SERVER_NAME = "istio-envoy"  # the `server` header of inbound answers, as Istio has it.

_DYNAMIC_DNS_FILTER = "envoy.filters.http.dynamic_forward_proxy"
_APPLICATION_PROTOCOLS_KEY = "envoy.network.application_protocols"


NamedFilters = Sequence[tuple[str, EnvoyMessage]]
"""Filters as (name, configuration), in the order in which they run."""


def build_network_filters(filters: NamedFilters) -> list[EnvoyMessage]:
    """Return filters of connections."""
    return [_build_filter(name, config) for name, config in filters]


def build_tcp_filters(cluster: str) -> list[EnvoyMessage]:
    """Return the filters that carry bytes to a cluster."""
    return [_build_filter("envoy.filters.network.tcp_proxy", TcpProxy(stat_prefix=cluster, cluster=cluster))]


def build_weighted_tcp_filters(stat_prefix: str, clusters: Iterable[tuple[str, int]]) -> list[EnvoyMessage]:
    """Return the filters that carry bytes to several clusters, each with its share."""
    weighted = {"clusters": [{"name": name, "weight": weight} for name, weight in clusters]}
    proxy = TcpProxy(stat_prefix=stat_prefix, weighted_clusters=weighted)
    return [_build_filter("envoy.filters.network.tcp_proxy", proxy)]


def build_detected_stream_filters(cluster: str) -> list[EnvoyMessage]:
    """Return the filters that carry bytes to a cluster whose ALPN says HTTP, and say there that it is none."""
    value = {
        "object_key": _APPLICATION_PROTOCOLS_KEY,
        "format_string": {"text_format_source": {"inline_string": ",".join(STREAM_ALPN)}},
        "shared_with_upstream": "ONCE",
    }
    state = SetFilterState(on_new_connection=[value])
    return [_build_filter("envoy.filters.network.set_filter_state", state), *build_tcp_filters(cluster)]


def build_outbound_http_filters(
    stat_prefix: str, routes: str | EnvoyMessage, normalization: str, *, dynamic_dns: bool = False
) -> list[EnvoyMessage]:
    """Return the filters that route requests, by routes that discovery serves under a name or by given ones."""
    manager = _build_manager(
        stat_prefix, normalization, faults=True, dynamic_dns=dynamic_dns, **_build_route_source(routes)
    )
    return [_build_filter("envoy.filters.network.http_connection_manager", manager)]


def build_gateway_http_filters(
    stat_prefix: str, route_name: str, normalization: str, authorization: NamedFilters
) -> list[EnvoyMessage]:
    """Return the filters of a gateway: clients are strangers, whose address and certificate apps are told."""
    manager = _build_manager(
        stat_prefix,
        normalization,
        faults=True,
        authorization=authorization,
        server_name=SERVER_NAME,
        use_remote_address={"value": True},
        forward_client_cert_details="SANITIZE_SET",
        set_current_client_cert_details={"subject": {"value": True}, "cert": True, "dns": True, "uri": True},
        **_build_route_source(route_name),
    )
    return [_build_filter("envoy.filters.network.http_connection_manager", manager)]


def _build_route_source(routes: str | EnvoyMessage) -> dict[str, Any]:
    if isinstance(routes, str):
        return {"rds": {"config_source": build_ads_source(), "route_config_name": routes}}
    return {"route_config": routes}


def build_inbound_http_filters(
    stat_prefix: str, route_config: EnvoyMessage, normalization: str, authorization: NamedFilters
) -> list[EnvoyMessage]:
    """Return the filters that pass requests to the app."""
    manager = _build_manager(
        stat_prefix,
        normalization,
        faults=False,
        authorization=authorization,
        route_config=route_config,
        server_name=SERVER_NAME,
        http2_protocol_options={"allow_connect": True},
        forward_client_cert_details="APPEND_FORWARD",
        set_current_client_cert_details={"subject": {"value": True}, "dns": True, "uri": True},
    )
    return [_build_filter("envoy.filters.network.http_connection_manager", manager)]


def _build_http_filters(*, authorization: NamedFilters, faults: bool, dynamic_dns: bool) -> list[EnvoyMessage]:
    # First: who may not ask gets nothing, be it a fault or a preflight's answer. Their own order is `authorization`'s.
    filters: list[tuple[str, EnvoyMessage]] = [*authorization]
    if faults:
        # Next: a request that is refused or held back on purpose does nothing else. Routes set both.
        filters += [(FAULT_FILTER, HTTPFault()), (CORS_FILTER, Cors())]
    if dynamic_dns:
        # Before the router: a name must be resolved before its cluster is used.
        filters.append((_DYNAMIC_DNS_FILTER, DynamicForwardProxy(dns_cache_config=DYNAMIC_DNS_CACHE)))
    # Last: it answers.
    filters.append(("envoy.filters.http.router", Router()))
    return [HttpFilter(name=name, typed_config=pack_any(config)) for name, config in filters]


def _build_manager(
    stat_prefix: str,
    normalization: str,
    *,
    faults: bool,
    authorization: NamedFilters = (),
    dynamic_dns: bool = False,
    **fields: Any,
) -> EnvoyMessage:
    fields = {"use_remote_address": {"value": False}} | fields
    return ConnectionManager(
        stat_prefix=f"{stat_prefix};",
        http_filters=_build_http_filters(authorization=authorization, faults=faults, dynamic_dns=dynamic_dns),
        stream_idle_timeout=NEVER,
        proxy_100_continue=True,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        **_build_path_options(normalization),
        **fields,
    )


def _build_path_options(normalization: str) -> dict[str, Any]:
    """Return what happens to paths; routes, policies and the app all see the outcome.

    | normalization | `/a/../b` | `//` | `%2f` |
    | --- | --- | --- | --- |
    | NONE | kept | kept | kept |
    | DEFAULT, BASE | resolved | kept | kept |
    | MERGE_SLASHES | resolved | one slash | kept |
    | DECODE_AND_MERGE_SLASHES | resolved | one slash | a slash |
    """
    decoded = normalization == "DECODE_AND_MERGE_SLASHES"
    return {
        "normalize_path": {"value": normalization != "NONE"},
        "merge_slashes": decoded or normalization == "MERGE_SLASHES",
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD" if decoded else "KEEP_UNCHANGED",
    }


def _build_filter(name: str, config: EnvoyMessage) -> EnvoyMessage:
    return Filter(name=name, typed_config=pack_any(config))
