"""Envoy's matchers of strings, headers and query parameters.

Invariants: a header that is missing matches no matcher but `present_match`, inverted or not, unless
`treat_missing_header_as_empty` is set; of several values one that matches is enough, and then an inverted matcher
fails. Source: envoy/type/matcher/v3/string.proto;
envoy/config/route/v3/route_components.proto (HeaderMatcher, QueryParameterMatcher).
"""

from __future__ import annotations

from lateen.simulate.document import Document, flag, get, has, number, part, text
from lateen.simulate.regex import matches_fully
from lateen.simulate.request import Request

_OLD_KINDS = {"exactMatch": "exact", "prefixMatch": "prefix", "suffixMatch": "suffix", "containsMatch": "contains"}


def matches_string(matcher: Document, value: str) -> bool:
    """Whether a StringMatcher accepts the value; one that says nothing accepts none."""
    if has(matcher, "safeRegex"):
        return matches_fully(text(part(matcher, "safeRegex"), "regex"), value)
    fold = flag(matcher, "ignoreCase")
    for kind in ("exact", "prefix", "suffix", "contains"):
        if has(matcher, kind):
            return _compare(kind, text(matcher, kind), value, fold=fold)
    return False


def _compare(kind: str, wanted: str, value: str, *, fold: bool) -> bool:
    if fold:
        wanted, value = wanted.lower(), value.lower()
    match kind:
        case "exact":
            return value == wanted
        case "prefix":
            return value.startswith(wanted)
        case "suffix":
            return value.endswith(wanted)
        case _:
            return wanted in value


def matches_header(matcher: Document, request: Request) -> bool:
    """Whether the request has the header as wanted."""
    values = request.find_values(text(matcher, "name"))
    inverted = flag(matcher, "invertMatch")
    kind = _find_kind(matcher)
    if kind in ("", "presentMatch"):
        wanted = flag(matcher, "presentMatch", default=True)
        is_present = bool(values) or flag(matcher, "treatMissingHeaderAsEmpty")
        return (is_present is wanted) is not inverted
    if not values:
        if not flag(matcher, "treatMissingHeaderAsEmpty"):
            return False
        values = ("",)
    return any(_matches_value(kind, matcher, value) for value in values) is not inverted


def _find_kind(matcher: Document) -> str:
    kinds = ("stringMatch", *_OLD_KINDS, "safeRegexMatch", "rangeMatch", "presentMatch")
    return next((kind for kind in kinds if has(matcher, kind)), "")


def _matches_value(kind: str, matcher: Document, value: str) -> bool:
    if kind == "stringMatch":
        return matches_string(part(matcher, "stringMatch"), value)
    if kind == "safeRegexMatch":
        return matches_fully(text(part(matcher, kind), "regex"), value)
    if kind == "rangeMatch":
        return _in_range(part(matcher, kind), value)
    return _compare(_OLD_KINDS[kind], text(matcher, kind), value, fold=False)


def _in_range(wanted: Document, value: str) -> bool:
    digits = value[1:] if value[:1] in ("-", "+") else value
    if not (digits.isascii() and digits.isdigit()):
        return False
    return number(wanted, "start") <= int(value) < number(wanted, "end")


def parse_query(query: str) -> dict[str, str]:
    """Parameters of a query by name, as they are written (Envoy decodes nothing); of several the first counts."""
    parameters: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        parameters.setdefault(name, value)
    return parameters


def matches_query_parameter(matcher: Document, parameters: dict[str, str]) -> bool:
    """Whether the query has the parameter as wanted."""
    value = parameters.get(text(matcher, "name"))
    if get(matcher, "stringMatch") is not None:
        return value is not None and matches_string(part(matcher, "stringMatch"), value)
    if has(matcher, "presentMatch"):
        return (value is not None) is flag(matcher, "presentMatch")
    return value is not None
