"""What Envoy would refuse: one such value in a route would make it refuse the routes of every host beside it.

Parts of a VirtualService -> whether Envoy takes them.

A match that is not sound takes no request; a route that is not sound answers 500. Admission tells the user; here the
rest of the mesh is kept whole when an object came past it.
Source: the limits in Envoy's route.proto, fault.proto and header rules; the syntax of RE2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from functools import cache

from lateen.api.http_route import Headers, HTTPMatchRequest, HTTPRoute
from lateen.api.networking import StringMatch

_HEADER_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN_IN_VALUES = re.compile(r"[\x00\r\n]")
_NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|>|#|P=|P>|\()|(?<!\\)(?:\\\\)*\\[1-9]|[*+?}]\+")
_MATCH_NAME = re.compile(r"@?[!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]+")


def is_sound_match(match: HTTPMatchRequest) -> bool:
    """Whether Envoy takes the conditions of a match."""
    strings = [match.uri, match.scheme, match.method, match.authority, *match.query_params.values()]
    strings += [*match.headers.values(), *match.without_headers.values()]
    names = (*match.headers, *match.without_headers)
    return (
        all(_is_sound_string(one) for one in strings)
        and all(_MATCH_NAME.fullmatch(name) for name in names)
        and all(match.query_params)
    )


def is_sound_route(route: HTTPRoute) -> bool:
    """Whether Envoy takes what a route does."""
    headers = [route.headers, *(one.headers for one in route.route)]
    rewrite = route.rewrite.uri_regex_rewrite if route.rewrite is not None else None
    origins = route.cors_policy.allow_origins if route.cors_policy is not None else ()
    return (
        all(_is_sound_change(one) for one in headers)
        and (rewrite is None or is_expression(rewrite.match))
        and all(_is_sound_string(origin) for origin in origins)
        and all(not duration or duration >= timedelta(0) for duration in _list_durations(route))
        and _is_sound_answer(route)
        and all(one.destination.host for one in route.route)
    )


@cache
def is_expression(text: str) -> bool:
    """Whether a text is an RE2 expression, as far as Python can tell: what RE2 lacks is looked for by its spelling."""
    if _NOT_RE2.search(text):
        return False
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def is_header(name: str, value: str) -> bool:
    """Whether Envoy takes a header."""
    return _HEADER_NAME.fullmatch(name) is not None and _FORBIDDEN_IN_VALUES.search(value) is None


def _is_sound_string(match: StringMatch | None) -> bool:
    return match is None or match.regex is None or match.regex == "*" or is_expression(match.regex)


def _is_sound_change(headers: Headers | None) -> bool:
    operations = () if headers is None else (headers.request, headers.response)
    for one in operations:
        if one is None:
            continue
        names: Iterable[str] = (*one.set, *one.add, *one.remove)
        values = (*one.set.values(), *one.add.values())
        if not all(_HEADER_NAME.fullmatch(name) for name in names):
            return False
        if any(_FORBIDDEN_IN_VALUES.search(value) for value in values):
            return False
    return True


def _list_durations(route: HTTPRoute) -> Iterable[timedelta | None]:
    yield route.timeout
    if route.retries is not None:
        yield route.retries.per_try_timeout
        yield route.retries.backoff
    if route.fault is not None and route.fault.delay is not None:
        yield route.fault.delay.fixed_delay


def _is_sound_answer(route: HTTPRoute) -> bool:
    abort = None if route.fault is None or route.fault.abort is None else route.fault.abort.http_status
    fixed = None if route.direct_response is None else route.direct_response.status
    return all(status is None or 200 <= status < 600 for status in (abort, fixed))
