"""What routes do to headers.

Headers -> the four lists of `envoy.config.route.v3.Route` and the new host.

Invariants: headers come in the order of their names, `set` before `add`; pseudo headers and `Host` cannot be changed as
headers: a new `Host`, of `set` rather than of `add`, rewrites the authority of the request.
Source: Istio's pilot/pkg/networking/core/route (header operations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.api.http_route import HeaderOperations, Headers

_NO_CHANGES = HeaderOperations()


def build_header_changes(headers: Headers | None) -> dict[str, Any]:
    """Return what changes, as fields of a route or of a weighted cluster; lists that would be empty are left out."""
    if headers is None:
        return {}
    request, response = headers.request or _NO_CHANGES, headers.response or _NO_CHANGES
    fields = {
        "request_headers_to_add": _build_additions(request),
        "request_headers_to_remove": _list_removals(request),
        "response_headers_to_add": _build_additions(response),
        "response_headers_to_remove": _list_removals(response),
    }
    return {name: value for name, value in fields.items() if value}


def find_authority(headers: Headers | None) -> str:
    """Return the new host of the request, empty when it stays."""
    if headers is None or headers.request is None:
        return ""
    return _find_host(headers.request.set) or _find_host(headers.request.add)


def _find_host(headers: Mapping[str, str]) -> str:
    return next((value for name, value in sorted(headers.items()) if name.lower() in {":authority", "host"}), "")


def _build_additions(operations: HeaderOperations) -> list[dict[str, Any]]:
    kinds = ((operations.set, "OVERWRITE_IF_EXISTS_OR_ADD"), (operations.add, "APPEND_IF_EXISTS_OR_ADD"))
    return [
        {"header": {"key": name, "value": value}, "append_action": action}
        for headers, action in kinds
        for name, value in sorted(headers.items())
        if not _is_fixed(name)
    ]


def _list_removals(operations: HeaderOperations) -> list[str]:
    return [name for name in operations.remove if not _is_fixed(name)]


def _is_fixed(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"
