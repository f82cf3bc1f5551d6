"""Host names with wildcards, as Istio reads them (pkg/config/host).

A wildcard is `*` (every host) or `*.suffix`; it matches any depth below the suffix, never the suffix
itself. Comparison ignores case, as DNS does. Most specific first: exact before wildcard, longer before
shorter, then by text, so that the order of input never shows.
"""

from __future__ import annotations

from collections.abc import Iterable


def is_wildcard(host: str) -> bool:
    """Whether the host is `*` or begins with `*`."""
    return host.startswith("*")


def matches(pattern: str, host: str) -> bool:
    """Whether `pattern` covers every name that `host`, which may be a wildcard too, stands for."""
    pattern, host = pattern.lower(), host.lower()
    if not pattern.startswith("*"):
        return pattern == host
    suffix = pattern[1:]
    if host.startswith("*"):
        return host[1:].endswith(suffix)
    return host.endswith(suffix) and len(host) > len(suffix)


def intersect(left: str, right: str) -> str | None:
    """The narrower of two hosts when one covers the other, None when no name is in both."""
    if matches(left, right):
        return right
    return left if matches(right, left) else None


def specificity(host: str) -> tuple[bool, int, str]:
    """The sort key that puts the most specific host first."""
    return (is_wildcard(host), -len(host), host.lower())


def most_specific(host: str, patterns: Iterable[str]) -> str | None:
    """Of the patterns that match the host, the most specific one."""
    return min((pattern for pattern in patterns if matches(pattern, host)), key=specificity, default=None)
