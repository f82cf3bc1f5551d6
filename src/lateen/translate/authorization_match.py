"""The values in AuthorizationPolicies as Envoy's matchers.

| value | matches |
| --- | --- |
| `*` | any text that is there |
| `*x` | texts that end in x |
| `x*` | texts that begin with x |
| otherwise | the text itself |

Invariants: a value that Envoy would refuse, or that cannot mean anything, raises BrokenValue, so that it never reaches
Envoy, which would refuse the whole listener; names become part of expressions with their special characters quoted.
Source: Istio's pilot/pkg/security/authz/matcher and model; Envoy's string.proto, rbac.proto, uri_template_match.proto.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from lateen.envoy.messages import message_class, pack_any

UriTemplateMatch = message_class("envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig")

Matcher = dict[str, Any]
"""A message of Envoy's as field name -> value."""

SPIFFE_PREFIX = "spiffe://"
JWT_FILTER = "envoy.filters.http.jwt_authn"
JWT_PAYLOAD = "payload"  # the key under which the JWT filter leaves the claims.

_ANYTHING: Matcher = {"safe_regex": {"regex": ".+"}}
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_HEADER_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TEMPLATE_LITERAL = re.compile(r"[a-zA-Z0-9\-._~%!$&'()+,;:@]+")
_FORBIDDEN = re.compile(r"[\x00\r\n]")


class BrokenValue(Exception):
    """A value that no request can be compared with."""


def build_string(value: str, *, ignore_case: bool = False) -> Matcher:
    """Return the matcher of a text."""
    if value == "*":
        return _ANYTHING
    return _build_pattern(value) | ({"ignore_case": True} if ignore_case else {})


def build_any_string(values: Iterable[str]) -> Matcher:
    """Return a matcher of metadata values: texts that match one of the values."""
    matchers = [{"string_match": build_string(value)} for value in values]
    return matchers[0] if len(matchers) == 1 else {"or_match": {"value_matchers": matchers}}


def build_header(name: str, value: str, *, ignore_case: bool = False) -> Matcher:
    """Return the matcher of a header."""
    if not _HEADER_NAME.fullmatch(name):
        raise BrokenValue(name)
    if value == "*":
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": build_string(value, ignore_case=ignore_case)}


def build_header_names(names: Iterable[str]) -> Matcher:
    """Return the matcher of some headers' names, in any case."""
    patterns = []
    for name in names:
        if name == "*":
            raise BrokenValue(name)
        patterns.append(build_string(name, ignore_case=True))
    return {"patterns": patterns}


def build_path(value: str) -> Matcher:
    """Return the permission for a path, or a template of paths with `{*}` and `{**}`."""
    if "{*}" not in value and "{**}" not in value:
        return {"url_path": {"path": build_string(value)}}
    template = value.replace("{*}", "*").replace("{**}", "**")
    if not _is_template(template):
        raise BrokenValue(value)
    config = pack_any(UriTemplateMatch(path_template=template))
    return {"uri_template": {"name": "uri-template", "typed_config": config}}


def build_addresses(value: str) -> Matcher:
    """Return the range of an address or CIDR."""
    address, _, length = value.partition("/")
    try:
        parsed = ipaddress.ip_address(address)
        bits = int(length) if "/" in value else parsed.max_prefixlen
    except ValueError:
        raise BrokenValue(value) from None
    if not 0 <= bits <= parsed.max_prefixlen or "%" in address:
        raise BrokenValue(value)
    return {"address_prefix": str(parsed), "prefix_len": {"value": bits}}


def parse_port(value: str) -> int:
    """Return the number of a port."""
    if not value.isdecimal() or not value.isascii() or int(value) > 65535:
        raise BrokenValue(value)
    return int(value)


def build_principal_name(value: str) -> Matcher:
    """Return the matcher of an identity, which policies write without `spiffe://`."""
    if value.startswith(SPIFFE_PREFIX):
        raise BrokenValue(value)
    if value == "*":
        return _ANYTHING
    if value.startswith("*"):
        return {"safe_regex": {"regex": f"{SPIFFE_PREFIX}.*{quote(value[1:])}"}}
    (kind, text), *_ = _build_pattern(value).items()
    return {kind: SPIFFE_PREFIX + text}


def build_namespace(value: str) -> Matcher:
    """Return the matcher of the identities of a namespace."""
    _check(value)
    return {"safe_regex": {"regex": f".*/ns/{quote_wildcards(value, '.*')}/.*"}}


def build_service_account(value: str, namespace: str) -> Matcher:
    """Return the matcher of a service account, `NAME` in the policy's namespace or `NAMESPACE/NAME`."""
    first, slash, second = value.partition("/")
    where, name = (first, second) if slash else (namespace, first)
    if not where or not name or "*" in value:
        raise BrokenValue(value)
    return {"safe_regex": {"regex": f"{SPIFFE_PREFIX}.+/ns/{quote(where)}/(.+/|)sa/{quote(name)}(/.+)?"}}


def build_trust_domain(value: str) -> Matcher:
    """Return the matcher of the identities of a trust domain."""
    _check(value)
    wildcard = "[^/]+" if value == "*" else "[^/]*"
    return {"safe_regex": {"regex": f"{SPIFFE_PREFIX}{quote_wildcards(value, wildcard)}/.+"}}


def build_metadata(filter_name: str, path: Iterable[str], value: Matcher) -> Matcher:
    """Return the matcher of what a filter says of a request."""
    return {"filter": filter_name, "path": [{"key": key} for key in path], "value": value}


def build_claim(path: Iterable[str], values: Iterable[str]) -> Matcher:
    """Return the matcher of a claim that is one of the values, or a list with one of them."""
    one = build_any_string(values)
    either = {"or_match": {"value_matchers": [{"list_match": {"one_of": one}}, one]}}
    return build_metadata(JWT_FILTER, (JWT_PAYLOAD, *path), either)


def quote(text: str) -> str:
    """Return an expression for a text."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def quote_wildcards(text: str, wildcard: str) -> str:
    """Return an expression for a text with `*` in it."""
    return wildcard.join(quote(part) for part in text.split("*"))


def _check(value: str) -> None:
    if not value or _FORBIDDEN.search(value):
        raise BrokenValue(value)


def _build_pattern(value: str) -> Matcher:
    _check(value)
    if value.startswith("*"):
        return {"suffix": value[1:]}
    if value.endswith("*"):
        return {"prefix": value[:-1]}
    return {"exact": value}


def _is_template(template: str) -> bool:
    """Whether Envoy takes a template: whole segments are wildcards, and nothing but text follows a `**`."""
    root, *segments = template.split("/")
    if root or not segments:
        return False
    wildcards = [segment for segment in segments if segment in {"*", "**"}]
    texts = [segment for segment in segments if segment not in {"*", "**"}]
    if "**" in wildcards[:-1] or not all(_TEMPLATE_LITERAL.fullmatch(text) for text in texts if text):
        return False
    return "" not in segments[:-1]
