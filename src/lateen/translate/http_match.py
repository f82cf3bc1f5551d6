"""Matches of HTTP routes: which requests a route takes.

HTTPMatchRequest -> `envoy.config.route.v3.RouteMatch`.

Invariants: conditions come in the order of their names, so that equal routes are equal bytes. Port, client and gateway
are no part of the message: they decide whether there is a route at all (`applies`). A match that is set but empty asks
for presence only, and so does the expression `*`, which is none.
Source: Istio's pilot/pkg/networking/core/route (matches); Envoy's route_components.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lateen.api.http_route import HTTPMatchRequest
from lateen.api.networking import StringMatch
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.mesh.rows import Labels

RouteMatch = message_class("envoy.config.route.v3.RouteMatch")


class RouteContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where routes are built for: what decides which of them apply."""

    port: int
    gateway: str
    """`mesh`, or a gateway as `namespace/name`."""
    viewer: str
    """The namespace whose private objects are seen, as in `Scope`."""
    namespace: str = ""
    labels: Labels = ()
    tls: bool = False
    """Whether requests arrive over TLS that ends here."""


def applies(match: HTTPMatchRequest, context: RouteContext) -> bool:
    """Whether a match is for this port, and for this gateway or client."""
    if match.port and match.port != context.port:
        return False
    if match.gateways:
        return context.gateway in match.gateways
    if not set(match.source_labels.items()) <= set(context.labels):
        return False
    return not match.source_namespace or match.source_namespace == context.namespace


def build_match(match: HTTPMatchRequest | None) -> EnvoyMessage:
    """Return the conditions of a match; None takes every request."""
    if match is None:
        return RouteMatch(prefix="/")
    headers = _build_headers(match)
    pseudo = ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme))
    headers += [_build_condition(name, condition) for name, condition in pseudo if condition is not None]
    parameters = [_build_condition(name, one) for name, one in sorted(match.query_params.items())]
    return RouteMatch(
        **_build_path(match.uri),
        headers=headers,
        query_parameters=parameters,
        case_sensitive={"value": not match.ignore_uri_case},
    )


def takes_everything(match: EnvoyMessage) -> bool:
    """Whether no request passes a match by, so that no route after it counts."""
    if match.headers or match.query_parameters or match.dynamic_metadata:
        return False
    return "/" in {match.prefix, match.path_separated_prefix} or match.safe_regex.regex == "*"


def build_string_match(match: StringMatch) -> dict[str, Any]:
    """Return a match of a text as Envoy's StringMatcher."""
    if match.exact is not None:
        return {"exact": match.exact}
    if match.prefix is not None:
        return {"prefix": match.prefix}
    return {"safe_regex": {"regex": match.regex or ".*"}}


def _build_path(uri: StringMatch | None) -> dict[str, Any]:
    if uri is None:
        return {"prefix": "/"}
    if uri.exact is not None:
        return {"path": uri.exact}
    if uri.prefix is not None:
        return {"prefix": uri.prefix}
    if uri.regex is not None:
        return {"safe_regex": {"regex": uri.regex}}
    return {"prefix": "/"}


def _build_headers(match: HTTPMatchRequest) -> list[dict[str, Any]]:
    wanted = [(name, _build_condition(name, one)) for name, one in match.headers.items()]
    unwanted = [(name, _build_refusal(name, one)) for name, one in match.without_headers.items()]
    return [condition for _, condition in sorted((*wanted, *unwanted), key=lambda pair: pair[0])]


def _build_condition(name: str, match: StringMatch) -> dict[str, Any]:
    if asks_presence(match):
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": build_string_match(match)}


def _build_refusal(name: str, match: StringMatch) -> dict[str, Any]:
    """Return a condition that does not hold; a missing header counts as an empty one."""
    condition: Mapping[str, Any] = _build_condition(name, match)
    if asks_presence(match):
        return {**condition, "invert_match": True}
    return {**condition, "invert_match": True, "treat_missing_header_as_empty": True}


def asks_presence(match: StringMatch) -> bool:
    """Whether a match only asks that the text be there."""
    return match.regex == "*" or (match.exact is None and match.prefix is None and match.regex is None)
