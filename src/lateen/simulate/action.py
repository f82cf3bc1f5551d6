"""What a matched route does: forward, redirect or answer, and with which settings.

Flow: route + request -> the fields of `Outcome` from cluster to mirrors.
Source: envoy/config/route/v3/route_components.proto (RouteAction, RedirectAction, DirectResponseAction);
envoy/extensions/filters/http/fault/v3/fault.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from lateen.simulate.document import Document, config_of, duration, flag, fraction, has, items, number, part, text
from lateen.simulate.matcher import matches_header
from lateen.simulate.outcome import Fault, Outcome, Retry, WeightedCluster
from lateen.simulate.regex import replace_all
from lateen.simulate.request import Request
from lateen.simulate.route import strip_port

FAULT = "envoy.filters.http.fault"
_DEFAULT_TIMEOUT = timedelta(seconds=15)  # Envoy's, where a route says nothing
_DEFAULT_ATTEMPTS = 1  # Envoy's num_retries
_REDIRECT_STATUS = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def apply_route(route: Document, request: Request, outcome: Outcome) -> Outcome:
    """The outcome with what the route does."""
    outcome = replace(outcome, route=text(route, "name"), matched=route, host=request.host, path=request.path)
    if has(route, "redirect"):
        redirect = part(route, "redirect")
        status = _REDIRECT_STATUS[text(redirect, "responseCode") or "MOVED_PERMANENTLY"]
        return replace(outcome, status=status, location=build_location(redirect, part(route, "match"), request))
    if has(route, "directResponse"):
        answer = part(route, "directResponse")
        return replace(outcome, status=number(answer, "status"), body=text(part(answer, "body"), "inlineString"))
    if not has(route, "route"):
        return outcome
    action = part(route, "route")
    branches = find_clusters(action, request)
    timeout = duration(action, "timeout")
    return replace(
        outcome,
        cluster=choose_cluster(branches, request.sample),
        clusters=branches if len(branches) > 1 else (),
        host=_rewrite_host(action, request),
        path=rewrite_path(action, part(route, "match"), request),
        timeout=_DEFAULT_TIMEOUT if timeout is None else (timeout or None),
        retry=_read_retry(part(action, "retryPolicy")),
        mirrors=_read_mirrors(action),
    )


def find_clusters(action: Document, request: Request) -> tuple[WeightedCluster, ...]:
    """The clusters that may get the request, with their shares."""
    if has(action, "weightedClusters"):
        branches = items(part(action, "weightedClusters"), "clusters")
        total = sum(number(one, "weight") for one in branches) or 1
        return tuple(WeightedCluster(_name(one, request), number(one, "weight") / total) for one in branches)
    name = _name(action, request, "cluster")
    return (WeightedCluster(name, 1.0),) if name else ()


def _name(action: Document, request: Request, field: str = "name") -> str:
    if has(action, "clusterHeader"):
        return request.find_header(text(action, "clusterHeader")) or ""
    return text(action, field)


def choose_cluster(branches: Sequence[WeightedCluster], sample: float | None) -> str:
    """The branch that a random draw takes; without a draw only where there is no choice."""
    if len(branches) == 1:
        return branches[0].cluster
    if sample is None:
        return ""
    reached = 0.0
    for branch in branches:
        reached += branch.share
        if sample < reached:
            return branch.cluster
    return branches[-1].cluster if branches else ""


def rewrite_path(action: Document, match: Document, request: Request) -> str:
    """The path that the backend gets, query included."""
    path = request.path_only
    if has(action, "prefixRewrite") and text(action, "prefixRewrite"):
        path = _replace_prefix(text(action, "prefixRewrite"), match, path)
    elif has(action, "regexRewrite"):
        rewrite = part(action, "regexRewrite")
        path = replace_all(text(part(rewrite, "pattern"), "regex"), text(rewrite, "substitution"), path)
    return path + request.path[len(request.path_only) :]


def _replace_prefix(replacement: str, match: Document, path: str) -> str:
    for kind in ("prefix", "pathSeparatedPrefix"):
        if has(match, kind):
            return replacement + path[len(text(match, kind)) :]
    return replacement


def _rewrite_host(action: Document, request: Request) -> str:
    if text(action, "hostRewriteLiteral"):
        return text(action, "hostRewriteLiteral")
    if header := text(action, "hostRewriteHeader"):
        return request.find_header(header) or request.host
    if has(action, "hostRewritePathRegex"):
        rewrite = part(action, "hostRewritePathRegex")
        pattern = text(part(rewrite, "pattern"), "regex")
        return replace_all(pattern, text(rewrite, "substitution"), request.path_only)
    return request.host


def build_location(redirect: Document, match: Document, request: Request) -> str:
    """The Location header of a redirect."""
    scheme = text(redirect, "schemeRedirect") or ("https" if flag(redirect, "httpsRedirect") else request.scheme)
    host = text(redirect, "hostRedirect") or request.host
    if port := number(redirect, "portRedirect"):
        host = f"{strip_port(host)}:{port}"
    elif scheme != request.scheme and host == f"{strip_port(host)}:{_DEFAULT_PORTS[request.scheme]}":
        host = strip_port(host)
    query = "" if flag(redirect, "stripQuery") else request.path[len(request.path_only) :]
    path = request.path_only
    if given := text(redirect, "pathRedirect"):
        path, query = given, "" if "?" in given else query
    elif has(redirect, "prefixRewrite"):
        path = _replace_prefix(text(redirect, "prefixRewrite"), match, path)
    elif has(redirect, "regexRewrite"):
        rewrite = part(redirect, "regexRewrite")
        path = replace_all(text(part(rewrite, "pattern"), "regex"), text(rewrite, "substitution"), path)
    return f"{scheme}://{host}{path}{query}"


def _read_retry(policy: Document) -> Retry | None:
    if not policy:
        return None
    attempts = number(policy, "numRetries", _DEFAULT_ATTEMPTS)
    return Retry(text(policy, "retryOn"), attempts, duration(policy, "perTryTimeout"))


def _read_mirrors(action: Document) -> tuple[WeightedCluster, ...]:
    return tuple(
        WeightedCluster(text(one, "cluster"), fraction(one, "runtimeFraction", default=1.0))
        for one in items(action, "requestMirrorPolicies")
    )


def find_fault(scopes: Sequence[Document], request: Request) -> Fault | None:
    """The fault that is injected; `scopes` are route, virtual host, route configuration, filter: the first counts."""
    settings = next((one for one in (_find_settings(scope) for scope in scopes) if one is not None), None)
    if settings is None or not all(matches_header(one, request) for one in items(settings, "headers")):
        return None
    delay, abort = part(settings, "delay"), part(settings, "abort")
    if not delay and not abort:
        return None
    return Fault(
        delay=duration(delay, "fixedDelay"),
        delay_share=fraction(delay, "percentage"),
        abort_status=_find_abort_status(abort),
        abort_share=fraction(abort, "percentage"),
    )


def _find_settings(scope: Document) -> Document | None:
    if text(scope, "name") == FAULT and has(scope, "typedConfig"):
        return config_of(scope)
    found = part(scope, "typedPerFilterConfig").get(FAULT)
    return found if isinstance(found, dict) else None


def _find_abort_status(abort: Document) -> int | None:
    if has(abort, "httpStatus"):
        return number(abort, "httpStatus")
    return 200 if has(abort, "grpcStatus") else None
