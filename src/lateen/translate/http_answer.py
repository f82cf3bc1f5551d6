"""Routes that the proxy answers itself: redirects and fixed answers.

HTTPRedirect, HTTPDirectResponse -> fields of `envoy.config.route.v3.Route`.

Source: Istio's pilot/pkg/networking/core/route (redirects); the VirtualService reference.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from lateen.api.http_route import HTTPDirectResponse, HTTPRedirect

_REDIRECT_CODES = {
    0: "MOVED_PERMANENTLY",
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_DEFAULT_PORTS = {("http", 80), ("https", 443)}
_BROKEN_STATUS = 500


def build_redirect(redirect: HTTPRedirect, port: int, *, tls: bool) -> dict[str, Any]:
    """Return a redirect; `port` is where the request arrived. A code that Envoy cannot send answers 500."""
    code = _REDIRECT_CODES.get(redirect.redirect_code)
    if code is None:
        return {"direct_response": {"status": _BROKEN_STATUS}}
    action: dict[str, Any] = {"host_redirect": redirect.authority, "response_code": code}
    if redirect.uri:
        action["path_redirect"] = redirect.uri
    elif redirect.prefix_rewrite:
        action["prefix_rewrite"] = redirect.prefix_rewrite
    if redirect.scheme:
        action["scheme_redirect"] = redirect.scheme
    number = redirect.port or (port if redirect.derive_port == "FROM_REQUEST_PORT" else 0)
    if number and (redirect.scheme or ("https" if tls else "http"), number) not in _DEFAULT_PORTS:
        action["port_redirect"] = number
    return {"redirect": action}


def build_direct_response(response: HTTPDirectResponse) -> dict[str, Any]:
    """Return a fixed answer."""
    action: dict[str, Any] = {"status": response.status or 200}
    body = response.body
    if body is not None and body.string is not None:
        action["body"] = {"inline_string": body.string}
    elif body is not None and body.bytes is not None:
        action["body"] = {"inline_bytes": _decode_base64(body.bytes)}
    return {"direct_response": action}


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""
