"""The HTTP routes of a VirtualService, as one gateway or the sidecars of one scope get them.

(VirtualService, context) -> encoded routes, in match order.

| what is broken | answer |
| --- | --- |
| destination without such a host, port or subset | a cluster that does not exist: 503 (NC) |
| several destinations whose weights are all 0 | 503, as Envoy would refuse the route |
| neither destinations nor an answer, or a value that Envoy refuses | 500 |

Invariants: a lone destination takes everything whatever its weight; the port of a destination that gives none is the
service's only port for gateways, and the one that the request went to for sidecars. After a route that takes every
request no other is kept.
Source: Istio's pilot/pkg/networking/core/route (BuildHTTPRoutesForVirtualService); SEMANTICS 1.2.
`max_grpc_timeout` stays, though deprecated: Envoy ignores `timeout` in a route that has `max_stream_duration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lateen.api.http_route import HTTPMatchRequest, HTTPRoute, HTTPRouteDestination
from lateen.api.networking import Destination, Percent
from lateen.base.names import ObjectRef, format_cluster_name
from lateen.envoy.messages import EnvoyMessage, encode, message_class, pack_any
from lateen.incremental.query import query
from lateen.mesh.indexes import MESH_GATEWAY
from lateen.mesh.service import find_alias, find_service_by_host
from lateen.mesh.virtual_service import VirtualService, find_virtual_service, list_destinations
from lateen.mesh.visibility import mesh_settings
from lateen.translate.hash_policy import find_hash_policy
from lateen.translate.http_answer import build_direct_response, build_redirect
from lateen.translate.http_headers import build_header_changes, find_authority
from lateen.translate.http_match import RouteContext, applies, build_match, takes_everything
from lateen.translate.http_policy import (
    CORS_FILTER,
    FAULT_FILTER,
    build_cors,
    build_fault,
    build_retry_policy,
    build_share,
)
from lateen.translate.socket_address import NEVER, build_duration
from lateen.translate.soundness import is_sound_match, is_sound_route

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Route = message_class("envoy.config.route.v3.Route")
VirtualHost = message_class("envoy.config.route.v3.VirtualHost")

_ALL = {"numerator": 100}
_BROKEN_STATUS = 500
_NO_WEIGHT_STATUS = 503


class Routes(NamedTuple):
    """Routes as fragments of a virtual host: those that some requests pass by, and those that take everything."""

    some: bytes
    rest: bytes


@query
def find_routes(db: Database, ref: ObjectRef, context: RouteContext) -> Routes | None:
    """Return the routes of a VirtualService, None when none of them applies."""
    service = find_virtual_service(db, ref)
    if service is None:
        return None
    some, rest = [], []
    for route, match in _list_matches(service, context):
        built = _build_route(db, service, route, match, context)
        if takes_everything(built.match):
            rest.append(built)
            break
        some.append(built)
    if not some and not rest:
        return None
    return Routes(encode(VirtualHost(routes=some)), encode(VirtualHost(routes=rest)))


def _list_matches(service: VirtualService, context: RouteContext) -> list[tuple[HTTPRoute, HTTPMatchRequest | None]]:
    found: list[tuple[HTTPRoute, HTTPMatchRequest | None]] = []
    for route in service.http:
        if not route.match:
            return [*found, (route, None)]
        found += [(route, match) for match in route.match if applies(match, context) and is_sound_match(match)]
    return found


def _build_route(
    db: Database, service: VirtualService, route: HTTPRoute, match: HTTPMatchRequest | None, context: RouteContext
) -> EnvoyMessage:
    name = f"{route.name}.{match.name}" if match is not None and match.name else route.name
    sound = is_sound_route(route)
    fields = build_header_changes(route.headers) if sound else {}
    if not sound:
        fields["direct_response"] = {"status": _BROKEN_STATUS}
    elif route.redirect is not None:
        fields |= build_redirect(route.redirect, context.port, tls=context.tls)
    elif route.direct_response is not None:
        fields |= build_direct_response(route.direct_response)
    else:
        _merge_fields(fields, _build_destination(db, route, context))
    filters = {}
    if sound and route.fault is not None:
        filters[FAULT_FILTER] = pack_any(build_fault(route.fault))
    if sound and route.cors_policy is not None:
        filters[CORS_FILTER] = pack_any(build_cors(route.cors_policy))
    built = Route(name=name, match=build_match(match), **fields)
    for filter_name, config in filters.items():
        built.typed_per_filter_config[filter_name].CopyFrom(config)
    built.stat_prefix = match.stat_prefix if match is not None else ""
    built.decorator.operation = _describe(built, service.ref.name, context.port)
    built.metadata.filter_metadata["istio"]["config"] = format_config_path(service.ref)
    return built


def format_config_path(ref: ObjectRef) -> str:
    """Return how routes and clusters name the object that they come from, as Istio's tools read it."""
    kind = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in ref.kind).lstrip("-")
    return f"/apis/networking.istio.io/v1/namespaces/{ref.namespace}/{kind}/{ref.name}"


def _merge_fields(fields: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        fields[name] = [*fields.get(name, []), *value] if isinstance(value, list) else value


def _build_destination(db: Database, route: HTTPRoute, context: RouteContext) -> dict[str, Any]:
    """Return the fields of a route that sends requests on."""
    destinations = list_destinations(route)
    if not destinations:
        return {"direct_response": {"status": _NO_WEIGHT_STATUS if route.route else _BROKEN_STATUS}}
    hashes = [hashed for one in destinations if (hashed := find_hash_policy(db, one.destination, context.viewer))]
    retries = route.retries if route.retries is not None else mesh_settings(db).retries
    timeout = NEVER if route.timeout is None else build_duration(route.timeout)
    action: dict[str, Any] = {
        "timeout": timeout,
        "max_grpc_timeout": timeout,
        "retry_policy": build_retry_policy(retries, hashed=len(destinations) == 1 and bool(hashes)),
        "hash_policy": hashes,
        "request_mirror_policies": _build_mirrors(db, route, context),
    }
    authority = find_authority(route.headers)
    if route.rewrite is not None:
        authority = route.rewrite.authority or authority
        if route.rewrite.uri_regex_rewrite is not None:
            regex = route.rewrite.uri_regex_rewrite
            action["regex_rewrite"] = {"pattern": {"regex": regex.match}, "substitution": regex.rewrite}
        elif route.rewrite.uri:
            action["prefix_rewrite"] = route.rewrite.uri
    fields: dict[str, Any] = {"route": action}
    if len(destinations) == 1:
        (only,) = destinations
        action["cluster"] = find_destination_cluster(db, only.destination, context)
        fields |= build_header_changes(only.headers)
        authority = authority or find_authority(only.headers)
    else:
        action["weighted_clusters"] = {"clusters": [_build_weight(db, one, context) for one in destinations]}
    if authority:
        action["host_rewrite_literal"] = authority
    return fields


def _build_weight(db: Database, destination: HTTPRouteDestination, context: RouteContext) -> dict[str, Any]:
    weight = {
        "name": find_destination_cluster(db, destination.destination, context),
        "weight": {"value": destination.weight},
        **build_header_changes(destination.headers),
    }
    authority = find_authority(destination.headers)
    return weight | ({"host_rewrite_literal": authority} if authority else {})


def _build_mirrors(db: Database, route: HTTPRoute, context: RouteContext) -> list[dict[str, Any]]:
    mirrors: list[tuple[Destination, dict[str, Any]]] = []
    if route.mirror is not None:
        if route.mirror_percentage is None and route.mirror_percent is not None:
            mirrors.append((route.mirror, {"numerator": route.mirror_percent}))
        else:
            mirrors.append((route.mirror, _build_mirror_share(route.mirror_percentage)))
    mirrors += [(mirror.destination, _build_mirror_share(mirror.percentage)) for mirror in route.mirrors]
    return [
        {
            "cluster": find_destination_cluster(db, destination, context),
            "runtime_fraction": {"default_value": share},
            "trace_sampled": {"value": False},
        }
        for destination, share in mirrors
        if share["numerator"]
    ]


def _build_mirror_share(percentage: Percent | None) -> dict[str, Any]:
    return _ALL if percentage is None else build_share(percentage)


def find_destination_cluster(db: Database, destination: Destination, context: RouteContext) -> str:
    """Return the name of the cluster of a destination, whether there is one or not."""
    host = find_alias(db, destination.host) or destination.host
    port = context.port
    if destination.port is not None:
        port = destination.port.number
    elif context.gateway != MESH_GATEWAY:
        service = find_service_by_host(db, host, context.viewer)
        if service is not None and len(service.ports) == 1:
            port = service.ports[0].number
    return format_cluster_name("outbound", port, destination.subset, host)


def _describe(route: EnvoyMessage, name: str, port: int) -> str:
    """Return the name of a route's spans: the destination, or the VirtualService where there are several."""
    match = route.match
    path = match.path or match.safe_regex.regex or f"{match.prefix}*"
    parts = route.route.cluster.split("|")
    return f"{parts[3]}:{parts[1]}{path}" if len(parts) == 4 else f"{name}:{port}{path}"
