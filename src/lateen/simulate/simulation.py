"""What Envoy does with a request, step by step.

Flow: configuration + request -> listener -> filter chain -> (route configuration -> virtual host -> route) or TCP proxy
-> cluster -> endpoints: an `Outcome`.
Invariants: total: any configuration and request give an outcome; nothing is random, `request.sample` stands for every
draw. Source: Envoy's pages on listeners, HTTP routing and clusters. We differ: health checks, load balancing and
authorization are not played; where several endpoints may get a request, all are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lateen.simulate.action import FAULT, apply_route, choose_cluster, find_clusters, find_fault
from lateen.simulate.configuration import Configuration
from lateen.simulate.document import Document, config_of, flag, is_type, items, part, text
from lateen.simulate.endpoint import find_endpoints
from lateen.simulate.filter_chain import find_filter_chain
from lateen.simulate.listener import TLS_INSPECTOR, detect_protocols, find_listener, inspects
from lateen.simulate.outcome import Failure, Outcome
from lateen.simulate.request import Request
from lateen.simulate.route import find_route, find_virtual_host, strip_port

_NOT_FOUND_STATUS = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
_SNI_CLUSTER = "envoy.filters.network.sni_cluster"


def simulate(configuration: Configuration, request: Request, *, only_paths: bool = False) -> Outcome:
    """What becomes of the request; with `only_paths` routes are chosen by path alone."""
    listener = find_listener(configuration, request)
    if listener is None:
        return Outcome(failure=Failure.NO_LISTENER)
    outcome = Outcome(listener=text(listener, "name"))
    sees_tls = inspects(listener, TLS_INSPECTOR, request.port)
    protocols = detect_protocols(listener, request, sees_tls=sees_tls)
    chain = find_filter_chain(listener, request, protocols, sees_tls=sees_tls)
    if isinstance(chain, Failure):
        return replace(outcome, failure=chain)
    outcome = replace(outcome, filter_chain=text(chain, "name"))
    if (failure := _check_security(chain, request)) is not None:
        return replace(outcome, failure=failure)
    manager = _find_filter(chain, "HttpConnectionManager")
    if manager is not None:
        outcome = _route_http(configuration, manager, chain, request, outcome, only_paths=only_paths)
    else:
        outcome = _route_tcp(chain, request, outcome)
    return _find_backends(configuration, request, outcome)


def _check_security(chain: Document, request: Request) -> Failure | None:
    """Whether client and chain agree on TLS; an mTLS client insists on a peer that shows the mesh's certificate."""
    socket = part(chain, "transportSocket")
    if not socket:
        return None
    if request.tls == "plaintext":
        return Failure.TLS
    if _demands_mtls(socket, request.mtls_secret) is not (request.tls == "mtls"):
        return Failure.MTLS
    return None


def _demands_mtls(socket: Document, secret: str) -> bool:
    config = config_of(socket)
    shown = items(part(config, "commonTlsContext"), "tlsCertificateSdsSecretConfigs")
    return bool(shown) and text(shown[0], "name") == secret and flag(config, "requireClientCertificate")


def _find_filter(chain: Document, type_name: str) -> Document | None:
    return next((config_of(one) for one in items(chain, "filters") if is_type(config_of(one), type_name)), None)


def _route_http(
    configuration: Configuration,
    manager: Document,
    chain: Document,
    request: Request,
    outcome: Outcome,
    *,
    only_paths: bool,
) -> Outcome:
    if request.protocol == "tcp" or (request.tls != "plaintext" and not part(chain, "transportSocket")):
        return replace(outcome, failure=Failure.PROTOCOL)
    route_config: Document | None = part(manager, "routeConfig")
    if not route_config:
        name = text(part(manager, "rds"), "routeConfigName")
        outcome = replace(outcome, route_config=name)
        route_config = configuration.routes.get(name)
    if "#" in request.path:
        return replace(outcome, failure=Failure.PROTOCOL, status=400)
    request = _as_manager_sees(manager, request)
    virtual_host = find_virtual_host(route_config or {}, request.host)
    if virtual_host is None:
        return replace(outcome, failure=Failure.NO_VIRTUAL_HOST, status=404)
    outcome = replace(outcome, virtual_host=text(virtual_host, "name"))
    if text(virtual_host, "requireTls") in ("ALL", "EXTERNAL_ONLY") and request.tls == "plaintext":
        location = f"https://{request.host}{request.path}"
        return replace(outcome, failure=Failure.TLS_REQUIRED, status=301, location=location)
    route = find_route(virtual_host, request, only_paths=only_paths)
    if route is None:
        return replace(outcome, failure=Failure.NO_ROUTE, status=404)
    outcome = apply_route(route, request, outcome)
    filters = [one for one in items(manager, "httpFilters") if text(one, "name") == FAULT]
    return replace(outcome, fault=find_fault((route, virtual_host, route_config or {}, *filters), request))


def _as_manager_sees(manager: Document, request: Request) -> Request:
    """The request after the connection manager's own changes to host and path."""
    is_own_port = flag(manager, "stripMatchingHostPort") and request.host.endswith(f":{request.port}")
    if is_own_port or flag(manager, "stripAnyHostPort"):
        request = replace(request, host=strip_port(request.host))
    if flag(manager, "mergeSlashes"):
        path = request.path_only
        while "//" in path:
            path = path.replace("//", "/")
        request = replace(request, path=path + request.path[len(request.path_only) :])
    return request


def _route_tcp(chain: Document, request: Request, outcome: Outcome) -> Outcome:
    proxy = _find_filter(chain, "TcpProxy")
    if proxy is None:
        return outcome
    if any(text(one, "name") == _SNI_CLUSTER for one in items(chain, "filters")):
        return replace(outcome, cluster=request.sni)
    branches = find_clusters(proxy, request)
    chosen = choose_cluster(branches, request.sample)
    return replace(outcome, cluster=chosen, clusters=branches if len(branches) > 1 else ())


def _find_backends(configuration: Configuration, request: Request, outcome: Outcome) -> Outcome:
    if not outcome.cluster or outcome.failure is not None:
        return outcome
    cluster = configuration.clusters.get(outcome.cluster)
    if cluster is None:
        wanted = text(part(outcome.matched or {}, "route"), "clusterNotFoundResponseCode")
        status = _NOT_FOUND_STATUS.get(wanted, 503) if outcome.matched is not None else None
        return replace(outcome, failure=Failure.NO_CLUSTER, status=status)
    endpoints = find_endpoints(configuration, cluster, request)
    if not any(one.is_healthy for one in endpoints):
        status = 503 if outcome.matched is not None else None
        return replace(outcome, endpoints=endpoints, failure=Failure.NO_ENDPOINT, status=status)
    return replace(outcome, endpoints=endpoints)


def read_call(call: Mapping[str, object]) -> Request:
    """The request of a `call` in the form of Istio's simulation tests."""
    headers = call.get("headers")
    named = {
        str(name).lower(): tuple(values) for name, values in (headers if isinstance(headers, dict) else {}).items()
    }
    mode, alpn = str(call.get("mode") or ""), str(call.get("alpn") or "")
    return Request(
        address=str(call["address"]),
        port=int(str(call["port"])),
        interception="inbound" if mode == "inbound" else "outbound" if mode == "outbound" else "none",
        protocol=str(call["protocol"]),  # type: ignore[arg-type]
        tls=str(call["tls"]),  # type: ignore[arg-type]
        sni=str(call.get("sni") or ""),
        alpn=(alpn,) if alpn else (),
        host=(named.get("host") or ("",))[0],
        path=str(call.get("path") or "/"),
        headers={name: values for name, values in named.items() if name != "host"},
        mtls_secret=str(call.get("mtls_secret") or "default"),
    )
