"""Hosts that no service declares, but VirtualServices of the mesh route.

(port, scope) -> virtual hosts, encoded.

| port | VirtualServices whose other hosts count |
| --- | --- |
| 80 | all |
| others | those that also route a service which has the port |

A wildcard that covers a service on the port is not such a host. Of several VirtualServices the oldest counts that has a
route for the port.
Source: Istio's pilot/pkg/networking/core/httproute.go and route/route.go (separateVSHostsAndServices).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.hosts import is_wildcard, matches
from lateen.base.names import ObjectRef
from lateen.envoy.messages import encode, message_class
from lateen.incremental.query import query
from lateen.mesh.indexes import MESH_GATEWAY
from lateen.mesh.service import find_port, find_service, find_service_by_host
from lateen.mesh.virtual_service import find_virtual_service, mesh_candidates, visible_mesh_services
from lateen.mesh.visibility import Scope, port_namespaces, visible_services_on_port
from lateen.translate.http_match import RouteContext
from lateen.translate.http_route import find_routes
from lateen.xds.resources import encode_field

if TYPE_CHECKING:
    from lateen.incremental.database import Database

RouteConfiguration = message_class("envoy.config.route.v3.RouteConfiguration")
VirtualHost = message_class("envoy.config.route.v3.VirtualHost")

_VIRTUAL_HOSTS_FIELD = RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number
_OPEN_PORT = 80  # the port on which hosts need no service.


@query
def unknown_virtual_hosts(db: Database, port: int, scope: Scope) -> bytes:
    """Return the virtual hosts of the hosts that only VirtualServices name, in the order of their age."""
    hosts: dict[str, bytes] = {}
    for ref in visible_mesh_services(db, scope.viewer):
        names = unknown_hosts(db, ref, port, scope.viewer)
        routes = find_routes(db, ref, build_context(port, scope)) if names else None
        for name in names if routes is not None else ():
            assert routes is not None
            hosts.setdefault(name, routes.some + routes.rest)
    return b"".join(_frame(name, port, routes) for name, routes in hosts.items())


@query
def unknown_hosts(db: Database, ref: ObjectRef, port: int, viewer: str) -> tuple[str, ...]:
    """Return the hosts of a VirtualService that get a virtual host of their own on a port."""
    service = find_virtual_service(db, ref)
    if service is None:
        return ()
    known = {host: _has_service(db, host, port, viewer) for host in service.hosts}
    if port != _OPEN_PORT and not any(known.values()):
        return ()
    return tuple(host.lower() for host, has_service in known.items() if not has_service)


def named_only_in_routes(db: Database, host: str, port: int, scope: Scope) -> bool:
    """Whether a host has a virtual host of its own although no service declares it."""
    return any(
        host in unknown_hosts(db, ref, port, scope.viewer)
        and find_routes(db, ref, build_context(port, scope)) is not None
        for ref in mesh_candidates(db, host, scope.viewer)
    )


def _has_service(db: Database, host: str, port: int, viewer: str) -> bool:
    if not is_wildcard(host):
        return find_port(find_service_by_host(db, host, viewer), port) is not None
    for namespace in port_namespaces(db, port):
        for ref in visible_services_on_port(db, namespace, port, viewer):
            service = find_service(db, ref)
            if service is not None and matches(host, service.host):
                return True
    return False


def build_context(port: int, scope: Scope) -> RouteContext:
    """Return the context of the routes that the sidecars of a scope get on a port."""
    return RouteContext(
        port=port,
        gateway=MESH_GATEWAY,
        viewer=scope.viewer,
        namespace=scope.source_namespace,
        labels=scope.source_labels,
    )


def _frame(host: str, port: int, routes: bytes) -> bytes:
    head = encode(VirtualHost(name=f"{host}:{port}", domains=[host], include_request_attempt_count=True))
    return encode_field(_VIRTUAL_HOSTS_FIELD, head + routes)
