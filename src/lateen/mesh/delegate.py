"""Delegation: the routes of a VirtualService that another one, its root, hands its traffic to.

(root route, routes of the delegate) -> routes in the root's place.

| | |
| --- | --- |
| matches | each of the delegate's joined with each of the root's that it agrees with |
| a match that agrees with none | the delegate's route is dropped |
| everything else | the delegate's, the root's where it is unset |

Two matches disagree when they could not both hold, or when an expression (regex) meets any other condition.
Source: Istio's pilot/pkg/model/virtualservice.go; the VirtualService reference, "Delegate".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from lateen.api.http_route import HTTPMatchRequest, HTTPRoute
from lateen.api.networking import StringMatch

V = TypeVar("V")

_INHERITED = (
    "rewrite",
    "direct_response",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrors",
    "mirror_percent",
    "mirror_percentage",
    "cors_policy",
    "headers",
)
_STRINGS = ("uri", "scheme", "method", "authority")
_MAPS = ("headers", "without_headers", "query_params", "source_labels")


def merge_delegate(root: HTTPRoute, routes: Iterable[HTTPRoute]) -> list[HTTPRoute]:
    """Return the routes of a delegate as they stand in the root's place."""
    merged = (_merge_route(root, route) for route in routes)
    return [route for route in merged if route is not None]


def _merge_route(root: HTTPRoute, own: HTTPRoute) -> HTTPRoute | None:
    matches = _merge_matches(root.match, own.match)
    if matches is None:
        return None
    fields = {name: getattr(root, name) for name in _INHERITED if not getattr(own, name)}
    return msgspec.structs.replace(own, name=_join(root.name, own.name), match=matches, **fields)


def _merge_matches(
    root: tuple[HTTPMatchRequest, ...], own: tuple[HTTPMatchRequest, ...]
) -> tuple[HTTPMatchRequest, ...] | None:
    if not root or not own:
        return own or root
    merged = []
    for leaf in own:
        agreeing = [one for one in root if not _disagree(one, leaf)]
        if not agreeing:
            return None
        merged += [_merge_match(one, leaf) for one in agreeing]
    return tuple(merged)


def _merge_match(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> HTTPMatchRequest:
    fields = {name: getattr(leaf, name) or getattr(root, name) for name in _STRINGS}
    fields |= {name: {**getattr(root, name), **getattr(leaf, name)} for name in _MAPS}
    return msgspec.structs.replace(
        leaf,
        name=_join(root.name, leaf.name),
        port=leaf.port or root.port,
        gateways=leaf.gateways or root.gateways,
        source_namespace=leaf.source_namespace or root.source_namespace,
        stat_prefix=leaf.stat_prefix or root.stat_prefix,
        **fields,
    )


def _join(root: str, leaf: str) -> str:
    return f"{root}-{leaf}" if root and leaf else root or leaf


def _disagree(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> bool:
    if any(_strings_disagree(getattr(root, name), getattr(leaf, name)) for name in _STRINGS):
        return True
    for name in ("headers", "without_headers", "query_params"):
        if _maps_disagree(getattr(root, name), getattr(leaf, name)):
            return True
    labels = leaf.source_labels.items()
    return (
        root.ignore_uri_case != leaf.ignore_uri_case
        or bool(root.port and leaf.port and root.port != leaf.port)
        or bool(root.source_namespace and leaf.source_namespace != root.source_namespace)
        or any(root.source_labels.get(key, value) != value for key, value in labels)
        or bool(root.gateways and leaf.gateways and not set(leaf.gateways) <= set(root.gateways))
    )


def _maps_disagree(root: Mapping[str, StringMatch], leaf: Mapping[str, StringMatch]) -> bool:
    return any(_strings_disagree(root[name], match) for name, match in leaf.items() if name in root)


def _strings_disagree(root: StringMatch | None, leaf: StringMatch | None) -> bool:
    if root is None or leaf is None:
        return False
    if root.regex or leaf.regex:
        return True
    if root.exact:
        return leaf.exact != root.exact
    if root.prefix:
        return not (leaf.exact or leaf.prefix or "").startswith(root.prefix)
    return True
