"""Outbound routes of sidecars: which cluster takes a request to a host.

(service, port) -> virtual host -> fragment of a RouteConfiguration -> the whole, for one port number.

Invariants: a virtual host is computed and encoded once and a RouteConfiguration is the concatenation of such fragments
(protobuf merges what is concatenated), gathered namespace by namespace, so that a changed service or VirtualService
costs its own virtual hosts and two concatenations. Short names are those of the client's namespace: a virtual host
exists at most twice per scope. Hosts that only VirtualServices know have virtual hosts on port 80, and on the ports of
services that the same VirtualService routes. No domain stands in two virtual hosts: a host that is named in full goes
before another service's short name.
Source: Istio's pilot/pkg/networking/core/httproute.go (names, domains, which VirtualServices count).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.names import format_cluster_name
from lateen.envoy.messages import EnvoyMessage, encode, message_class
from lateen.incremental.query import query
from lateen.mesh.destination_rule import find_rules, merge_rules, select_policy
from lateen.mesh.hostname import list_host_keys
from lateen.mesh.indexes import SERVICES_BY_ALIAS, SERVICES_BY_HOST, VIRTUAL_SERVICES_BY_HOST
from lateen.mesh.rows import EntryHost, Port, ServiceRef
from lateen.mesh.service import Service, find_owner, find_port, find_service, find_service_by_host
from lateen.mesh.virtual_service import mesh_candidates
from lateen.mesh.visibility import (
    Scope,
    mesh_settings,
    port_namespaces,
    visible_services_on_port,
)
from lateen.translate.catch_all import build_catch_all
from lateen.translate.hash_policy import build_hash_policy
from lateen.translate.http_policy import build_retry_policy
from lateen.translate.http_route import find_routes
from lateen.translate.socket_address import NEVER
from lateen.translate.unknown_host import build_context, named_only_in_routes, unknown_virtual_hosts
from lateen.xds.resources import ROUTE, Resource, build_resource_from_bytes, encode_field

if TYPE_CHECKING:
    from lateen.incremental.database import Database

RouteConfiguration = message_class("envoy.config.route.v3.RouteConfiguration")
VirtualHost = message_class("envoy.config.route.v3.VirtualHost")
Route = message_class("envoy.config.route.v3.Route")

_VIRTUAL_HOSTS_FIELD = RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number
_MAX_DIRECT_RESPONSE_BYTES = 1 << 20


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
        namespace_virtual_hosts(db, owner, port, scope, owner == namespace) for owner in port_namespaces(db, port)
    ]
    if not any(fragments):
        return None
    catch_all = frame_virtual_host(encode(build_catch_all(db, allow_any=scope.allow_any)))
    body = [encode(build_route_configuration(name)), *fragments, unknown_virtual_hosts(db, port, scope), catch_all]
    return build_resource_from_bytes(ROUTE, name, b"".join(body))


@query
def namespace_virtual_hosts(db: Database, namespace: str, port: int, scope: Scope, local: bool) -> bytes:
    """Return the virtual hosts of the services of one namespace on a port number, encoded in order of names."""
    refs = visible_services_on_port(db, namespace, port, scope.viewer)
    return b"".join(virtual_host(db, ref, port, scope, local) for ref in refs)


@query
def virtual_host(db: Database, ref: ServiceRef, port: int, scope: Scope, local: bool) -> bytes:
    """Return the virtual host of a service's port, encoded; empty when the port carries no requests.

    `local` is for clients of the same namespace, who may use the bare name.
    """
    service = find_service(db, ref)
    known = find_port(service, port)
    if service is None or known is None or not (known.protocol.is_http or known.protocol.is_detected):
        return b""
    domains = [
        domain
        for domain in _list_domains(db, service, known, local=local)
        if domain == service.host or not _is_taken(db, domain, port, scope)
    ]
    return _frame(db, service, known, domains, scope)


def frame_virtual_host(body: bytes) -> bytes:
    """Return an encoded virtual host as a fragment of a RouteConfiguration."""
    return encode_field(_VIRTUAL_HOSTS_FIELD, body)


def build_route_configuration(name: str) -> EnvoyMessage:
    """Return a route configuration without virtual hosts."""
    return RouteConfiguration(
        name=name,
        validate_clusters={"value": False},
        max_direct_response_body_size_bytes={"value": _MAX_DIRECT_RESPONSE_BYTES},
        ignore_port_in_host_matching=True,
    )


def _detected_route_configuration(db: Database, name: str, host: str, number: int, scope: Scope) -> Resource | None:
    service = find_service_by_host(db, host, scope.viewer)
    port = find_port(service, number)
    if service is None or port is None or not port.protocol.is_detected:
        return None
    body = encode(build_route_configuration(name)) + _frame(db, service, port, ["*"], scope)
    return build_resource_from_bytes(ROUTE, name, body)


def _frame(db: Database, service: Service, port: Port, domains: list[str], scope: Scope) -> bytes:
    head = VirtualHost(name=f"{service.host}:{port.number}", domains=domains, include_request_attempt_count=True)
    return frame_virtual_host(encode(head) + _find_service_routes(db, service, port, scope))


def _find_service_routes(db: Database, service: Service, port: Port, scope: Scope) -> bytes:
    """Return the routes of the VirtualService that routes the host, or one to the service itself."""
    context = build_context(port.number, scope)
    for ref in mesh_candidates(db, service.host, scope.viewer):
        routes = find_routes(db, ref, context)
        if routes is not None:
            return routes.some + routes.rest
    return encode(VirtualHost(routes=[_build_default_route(db, service, port, scope)]))


def _build_default_route(db: Database, service: Service, port: Port, scope: Scope) -> EnvoyMessage:
    rule = merge_rules(db, find_rules(db, service.host, service.ref.namespace, scope.viewer))
    balancer = select_policy(rule, None, port.number).load_balancer
    consistent = None if balancer is None else balancer.consistent_hash
    hashed = None if consistent is None else build_hash_policy(consistent)
    action = {
        "cluster": format_cluster_name("outbound", port.number, "", service.host),
        "timeout": NEVER,
        "retry_policy": build_retry_policy(mesh_settings(db).retries, hashed=hashed is not None),
        "max_stream_duration": {"max_stream_duration": NEVER, "grpc_timeout_header_max": NEVER},
        "hash_policy": [hashed] if hashed is not None else [],
    }
    operation = f"{service.host}:{port.number}/*"
    return Route(name="default", match={"prefix": "/"}, route=action, decorator={"operation": operation})


def _list_domains(db: Database, service: Service, port: Port, *, local: bool) -> list[str]:
    """Return the names under which a client may call a service, the most complete first, then the addresses."""
    names = _list_names(service.host, service.ref, local=local)
    if service.headless:
        names += [f"*.{known}" for known in names]
    for alias in db.lookup(SERVICES_BY_ALIAS, service.host.lower()):
        host = f"{alias.name}.{alias.namespace}.svc.{mesh_settings(db).cluster_domain}"
        names += _list_names(host, alias, local=local and alias.namespace == service.ref.namespace)
    addresses = [one for one in service.addresses if find_owner(db, one, port.number) == service.ref]
    return list(dict.fromkeys((*names, *(_bracket(address) for address in addresses if "/" not in address))))


def _list_names(host: str, ref: ServiceRef, *, local: bool) -> list[str]:
    if isinstance(ref, EntryHost):
        return [host] if host.startswith("*") else [host, f"{host}."]
    bare = [ref.name] if local else []
    return [host, f"{host}.", *bare, f"{ref.name}.{ref.namespace}.svc", f"{ref.name}.{ref.namespace}"]


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_taken(db: Database, domain: str, port: int, scope: Scope) -> bool:
    """Whether a name that may be short for a service is the full name of another, or of a VirtualService's host."""
    if db.lookup(SERVICES_BY_HOST, domain) and find_port(find_service_by_host(db, domain, scope.viewer), port):
        return True
    keys = list_host_keys(domain, mesh_settings(db).short_name_domain)
    routed = any(db.lookup(VIRTUAL_SERVICES_BY_HOST, key) for key in keys)
    return routed and named_only_in_routes(db, domain, port, scope)
