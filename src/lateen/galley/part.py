"""Parts of a VirtualService with the paths of their fields.

VirtualService spec -> (path, part), in the order of the object; paths read as in `spec.http[0].route[1].destination`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lateen.api.http_route import HTTPMatchRequest, HTTPRoute, HTTPRouteDestination
from lateen.api.networking import Destination, StringMatch
from lateen.api.virtual_service import (
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualServiceSpec,
)

Share = HTTPRouteDestination | RouteDestination
Route = HTTPRoute | TLSRoute | TCPRoute
Match = HTTPMatchRequest | TLSMatchAttributes | L4MatchAttributes
_TEXTS = ("uri", "scheme", "method", "authority")
_MAPS = (("headers", "headers"), ("query_params", "queryParams"), ("without_headers", "withoutHeaders"))


def list_routes(spec: VirtualServiceSpec) -> Iterator[tuple[str, tuple[Share, ...]]]:
    """The destinations of each route of any protocol."""
    for kind, routes in _list_kinds(spec):
        for place, route in enumerate(routes):
            yield f"spec.{kind}[{place}].route", route.route


def _list_kinds(spec: VirtualServiceSpec) -> tuple[tuple[str, Sequence[Route]], ...]:
    return (("http", spec.http), ("tls", spec.tls), ("tcp", spec.tcp))


def list_destinations(spec: VirtualServiceSpec) -> Iterator[tuple[str, Destination]]:
    """Every destination: those of routes, then those that copies go to."""
    for path, shares in list_routes(spec):
        for place, share in enumerate(shares):
            yield f"{path}[{place}].destination", share.destination
    for number, route in enumerate(spec.http):
        if route.mirror is not None:
            yield f"spec.http[{number}].mirror", route.mirror
        for place, mirror in enumerate(route.mirrors):
            yield f"spec.http[{number}].mirrors[{place}].destination", mirror.destination


def list_gateway_names(spec: VirtualServiceSpec) -> Iterator[tuple[str, str]]:
    """Every gateway as it is written: those of the object, then those of its matches."""
    for place, name in enumerate(spec.gateways):
        yield f"spec.gateways[{place}]", name
    for kind, routes in _list_kinds(spec):
        for number, route in enumerate(routes):
            matches: Sequence[Match] = route.match
            for at, match in enumerate(matches):
                for place, name in enumerate(match.gateways):
                    yield f"spec.{kind}[{number}].match[{at}].gateways[{place}]", name


def list_expressions(spec: VirtualServiceSpec) -> Iterator[tuple[str, str]]:
    """Every regular expression of the HTTP routes."""
    for number, route in enumerate(spec.http):
        path = f"spec.http[{number}]"
        for place, match in enumerate(route.match):
            yield from _list_of_match(f"{path}.match[{place}]", match)
        yield from _list_of_route(path, route)


def _list_of_match(path: str, match: HTTPMatchRequest) -> Iterator[tuple[str, str]]:
    for name in _TEXTS:
        yield from _list_of_text(f"{path}.{name}", getattr(match, name))
    for attribute, name in _MAPS:
        texts: Mapping[str, StringMatch] = getattr(match, attribute)
        for key, text in texts.items():
            yield from _list_of_text(f"{path}.{name}[{key}]", text)


def _list_of_route(path: str, route: HTTPRoute) -> Iterator[tuple[str, str]]:
    rewrite = route.rewrite.uri_regex_rewrite if route.rewrite is not None else None
    if rewrite is not None:
        yield f"{path}.rewrite.uriRegexRewrite.match", rewrite.match
    if route.cors_policy is not None:
        for place, origin in enumerate(route.cors_policy.allow_origins):
            yield from _list_of_text(f"{path}.corsPolicy.allowOrigins[{place}]", origin)


def _list_of_text(path: str, text: StringMatch | None) -> Iterator[tuple[str, str]]:
    if text is not None and text.regex is not None:
        yield f"{path}.regex", text.regex
