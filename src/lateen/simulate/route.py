"""Which virtual host and which route of a route configuration take a request.

Virtual host: exact domain, then the longest `*suffix`, the longest `prefix*`, at last `*`; hosts are compared without
case, and without their port where the configuration says so. Route: the first whose every condition holds.
Source: envoy/config/route/v3/route.proto and route_components.proto (VirtualHost, RouteMatch).
"""

from __future__ import annotations

from collections.abc import Sequence

from lateen.simulate.document import Document, flag, fraction, has, items, part, text
from lateen.simulate.matcher import matches_header, matches_query_parameter, parse_query
from lateen.simulate.regex import matches_fully
from lateen.simulate.request import Request

_GRPC = "application/grpc"


def find_virtual_host(route_config: Document, host: str) -> Document | None:
    """The virtual host for a value of the Host header."""
    hosts: Sequence[Document] = items(route_config, "virtualHosts")
    host = host.lower()
    if flag(route_config, "ignorePortInHostMatching"):
        host = strip_port(host)
    best: tuple[int, int] = (0, 0)  # (2 for a suffix, 1 for a prefix), its length
    found: Document | None = None
    fallback: Document | None = None
    for virtual_host in hosts:
        for domain in items(virtual_host, "domains"):
            rank = _rank_domain(str(domain).lower(), host)
            if rank == _EXACT:
                return virtual_host
            if domain == "*":
                fallback = fallback or virtual_host
            elif rank > best:
                best, found = rank, virtual_host
    return found or fallback


_EXACT = (3, 0)


def _rank_domain(domain: str, host: str) -> tuple[int, int]:
    if domain == host:
        return _EXACT
    if len(domain) > 1 and len(host) >= len(domain):
        if domain.startswith("*") and host.endswith(domain[1:]):
            return (2, len(domain))
        if domain.endswith("*") and host.startswith(domain[:-1]):
            return (1, len(domain))
    return (0, 0)


def strip_port(host: str) -> str:
    """A host without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (":" not in name or name.endswith("]")) else host


def find_route(virtual_host: Document, request: Request, *, only_paths: bool = False) -> Document | None:
    """The first route whose conditions hold; `only_paths` looks at no condition but the path."""
    routes: Sequence[Document] = items(virtual_host, "routes")
    for route in routes:
        match = part(route, "match")
        if matches_path(match, request.path_only) and (only_paths or _matches_rest(match, request)):
            return route
    return None


def matches_path(match: Document, path: str) -> bool:
    """Whether the path condition of a route holds; `path` is without query."""
    if has(match, "safeRegex"):
        return matches_fully(text(part(match, "safeRegex"), "regex"), path)
    if has(match, "connectMatcher"):
        return False
    fold = not flag(match, "caseSensitive", default=True)
    compared = path.lower() if fold else path
    for kind in ("path", "pathSeparatedPrefix", "prefix"):
        if not has(match, kind):
            continue
        wanted = text(match, kind)
        wanted = wanted.lower() if fold else wanted
        if kind == "path":
            return compared == wanted
        if kind == "prefix":
            return compared.startswith(wanted)
        return compared == wanted or compared.startswith(f"{wanted}/")
    return False


def _matches_rest(match: Document, request: Request) -> bool:
    if has(match, "runtimeFraction"):
        share = fraction(match, "runtimeFraction")
        if not (request.sample or 0.0) < share:
            return False
    if has(match, "grpc"):
        content_type = request.find_header("content-type") or ""
        if not (content_type == _GRPC or content_type.startswith(f"{_GRPC}+")):
            return False
    if not all(matches_header(one, request) for one in items(match, "headers")):
        return False
    wanted = items(match, "queryParameters")
    if wanted:
        parameters = parse_query(request.query)
        if not all(matches_query_parameter(one, parameters) for one in wanted):
            return False
    return _matches_tls(part(match, "tlsContext"), request)


def _matches_tls(wanted: Document, request: Request) -> bool:
    has_certificate = request.tls == "mtls"
    return all(flag(wanted, name) is has_certificate for name in ("presented", "validated") if has(wanted, name))
