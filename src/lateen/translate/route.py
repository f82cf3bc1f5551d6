"""Outbound routes: which cluster takes a request to a host.

(service, port) -> virtual host -> fragment of a RouteConfiguration -> the whole, for one port number.

Invariants: a virtual host is computed and encoded once and a RouteConfiguration is the concatenation of such fragments
(protobuf merges what is concatenated), gathered namespace by namespace, so that a changed service costs its own virtual
host and two concatenations. Short names are those of the client's namespace: a virtual host exists at most twice.
Source: Istio's pilot/pkg/networking/core/httproute.go (names, domains), pkg/networking/core/route/retry (retry policy);
Envoy's route.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.names import ObjectRef, format_cluster_name
from lateen.envoy.messages import EnvoyMessage, encode, message_class, pack_any
from lateen.incremental.query import query
from lateen.mesh.rows import ServicePort
from lateen.mesh.service import Service, find_service, find_service_ref
from lateen.mesh.visibility import (
    Scope,
    find_scope,
    is_exported,
    mesh_settings,
    port_namespaces,
    visible_services_on_port,
)
from lateen.translate.cluster import PASSTHROUGH_CLUSTER
from lateen.translate.socket_address import NEVER
from lateen.xds.resources import ROUTE, Resource, build_resource_from_bytes

if TYPE_CHECKING:
    from lateen.incremental.database import Database

RouteConfiguration = message_class("envoy.config.route.v3.RouteConfiguration")
VirtualHost = message_class("envoy.config.route.v3.VirtualHost")
Route = message_class("envoy.config.route.v3.Route")
RouteAction = message_class("envoy.config.route.v3.RouteAction")
PreviousHosts = message_class("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")

_MAX_DIRECT_RESPONSE_BYTES = 1 << 20
_REFUSED_STATUS = 502
_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"


@query
def proxy_route_configuration(db: Database, namespace: str, name: str) -> Resource | None:
    """Return a route configuration for the proxies of a namespace, None when nothing asks for that name."""
    return route_configuration(db, name, namespace, find_scope(db, namespace))


@query
def route_configuration(db: Database, name: str, namespace: str, scope: Scope) -> Resource | None:
    """Return the routes of a port number (`9080`), or of one detected service port (`host:port`)."""
    host, _, number = name.rpartition(":")
    if not number.isdecimal():
        return None
    if host:
        return _detected_route_configuration(db, name, host, int(number), scope)
    port = int(number)
    fragments = [
        namespace_virtual_hosts(db, owner, port, scope.viewer, owner == namespace)
        for owner in port_namespaces(db, port)
    ]
    if not any(fragments):
        return None
    body = [encode(_build_empty(name)), *fragments, encode_virtual_host(_build_catch_all(scope))]
    return build_resource_from_bytes(ROUTE, name, b"".join(body))


@query
def namespace_virtual_hosts(db: Database, namespace: str, port: int, viewer: str, local: bool) -> bytes:
    """Return the virtual hosts of the services of one namespace on a port number, encoded in order of names."""
    refs = visible_services_on_port(db, namespace, port, viewer)
    return b"".join(virtual_host(db, ref, port, local) for ref in refs)


@query
def virtual_host(db: Database, ref: ObjectRef, port: int, local: bool) -> bytes:
    """Return the virtual host of a service's HTTP port, encoded; empty when the port is no HTTP.

    `local` is for clients of the same namespace, who may use the bare name.
    """
    service = find_service(db, ref)
    known = None if service is None else next((one for one in service.ports if one.number == port), None)
    if service is None or known is None or not known.protocol.is_http:
        return b""
    return encode_virtual_host(_build_virtual_host(service, known, _list_domains(service, local=local)))


def encode_virtual_host(host: EnvoyMessage) -> bytes:
    """Return a virtual host as a fragment of a RouteConfiguration."""
    return encode(RouteConfiguration(virtual_hosts=[host]))


def _detected_route_configuration(db: Database, name: str, host: str, number: int, scope: Scope) -> Resource | None:
    ref = find_service_ref(host, mesh_settings(db).cluster_domain)
    service = None if ref is None or not is_exported(db, ref, scope.viewer) else find_service(db, ref)
    if service is None:
        return None
    port = next((one for one in service.ports if one.number == number), None)
    if port is None or not port.protocol.is_detected:
        return None
    body = encode(_build_empty(name)) + encode_virtual_host(_build_virtual_host(service, port, ["*"]))
    return build_resource_from_bytes(ROUTE, name, body)


def _build_empty(name: str) -> EnvoyMessage:
    return RouteConfiguration(
        name=name,
        validate_clusters={"value": False},
        max_direct_response_body_size_bytes={"value": _MAX_DIRECT_RESPONSE_BYTES},
        ignore_port_in_host_matching=True,
    )


def _list_domains(service: Service, *, local: bool) -> list[str]:
    """Return the names under which a client may call a service, the most complete first, then the addresses."""
    name, namespace = service.ref.name, service.ref.namespace
    names = [service.host, f"{service.host}."]
    if local:
        names.append(name)
    names += [f"{name}.{namespace}.svc", f"{name}.{namespace}"]
    if service.headless:
        names += [f"*.{known}" for known in names]
    return [*names, *service.addresses]


def _build_virtual_host(service: Service, port: ServicePort, domains: list[str]) -> EnvoyMessage:
    action = RouteAction(
        cluster=format_cluster_name("outbound", port.number, "", service.host),
        timeout=NEVER,
        retry_policy=_build_retry_policy(),
        max_stream_duration={"max_stream_duration": NEVER, "grpc_timeout_header_max": NEVER},
    )
    name = f"{service.host}:{port.number}"
    route = Route(name="default", match={"prefix": "/"}, route=action, decorator={"operation": f"{name}/*"})
    return VirtualHost(name=name, domains=domains, routes=[route], include_request_attempt_count=True)


def _build_retry_policy() -> dict[str, object]:
    """Return Istio's default: two more tries, elsewhere, where the request cannot have been handled."""
    predicate = {
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": pack_any(PreviousHosts()),
    }
    return {
        "retry_on": _RETRY_ON,
        "num_retries": {"value": 2},
        "retry_host_predicate": [predicate],
        "host_selection_retry_max_attempts": 5,
    }


def _build_catch_all(scope: Scope) -> EnvoyMessage:
    """Return the virtual host for hosts that nobody declared."""
    if scope.allow_any:
        name = "allow_any"
        action = RouteAction(
            cluster=PASSTHROUGH_CLUSTER,
            timeout=NEVER,
            max_stream_duration={"max_stream_duration": NEVER, "grpc_timeout_header_max": NEVER},
        )
        route = Route(name=name, match={"prefix": "/"}, route=action)
    else:
        name = "block_all"
        route = Route(name=name, match={"prefix": "/"}, direct_response={"status": _REFUSED_STATUS})
    return VirtualHost(name=name, domains=["*"], routes=[route], include_request_attempt_count=True)
