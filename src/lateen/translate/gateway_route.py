"""The routes of gateways: which cluster takes a request that arrives from outside.

(servers that share a name of routes) -> virtual hosts -> RouteConfiguration.

| host | routes |
| --- | --- |
| that the server and VirtualServices bound to its Gateway have in common | theirs, oldest first, what takes all last |
| a server's host with `httpsRedirect` | 301 to HTTPS for plain HTTP, with routes or without |
| none at all | 404 |

Invariants: a virtual host is computed from the VirtualServices of its own host; hosts with the same routes share one.
The narrower of two hosts in common is the virtual host's.
Source: Istio's pilot/pkg/networking/core/gateway.go; SEMANTICS 1.1, 1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lateen.base.hosts import intersect
from lateen.base.names import ObjectRef
from lateen.envoy.messages import encode, message_class
from lateen.incremental.query import query
from lateen.mesh.gateway import GatewayServer, PortMap, gateway_ports, list_hosts_for
from lateen.mesh.rows import Labels
from lateen.mesh.virtual_service import find_virtual_service, gateway_virtual_services
from lateen.translate.http_match import RouteContext
from lateen.translate.http_route import find_routes
from lateen.translate.route import build_route_configuration, frame_virtual_host
from lateen.xds.resources import ROUTE, Resource, build_resource_from_bytes

if TYPE_CHECKING:
    from lateen.incremental.database import Database

VirtualHost = message_class("envoy.config.route.v3.VirtualHost")


class Binding(NamedTuple):
    """A VirtualService, and where its routes are built for."""

    ref: ObjectRef
    context: RouteContext


class GatewayHost(NamedTuple):
    """A virtual host of a gateway; hosts with equal routes are its domains."""

    domains: tuple[str, ...]
    port: int
    bindings: tuple[Binding, ...]
    redirects: bool


@query
def gateway_route_configuration(
    db: Database, name: str, labels: Labels, ports: PortMap, viewer: str
) -> Resource | None:
    """Return the routes of a gateway under a name, None when none of its servers has that name."""
    servers = [one for port in gateway_ports(db, labels, ports) for one in port.servers if one.route_name == name]
    if not servers:
        return None
    hosts = gateway_hosts(db, name, labels, ports, viewer)
    fragments = [gateway_virtual_host(db, host) for host in hosts]
    if not hosts:
        empty = VirtualHost(name=f"blackhole:{servers[0].server.port.number}", domains=["*"])
        fragments = [frame_virtual_host(encode(empty))]
    body = [encode(build_route_configuration(name)), *fragments]
    return build_resource_from_bytes(ROUTE, name, b"".join(body))


@query
def gateway_virtual_host(db: Database, host: GatewayHost) -> bytes:
    """Return a virtual host of a gateway, encoded."""
    head = VirtualHost(
        name=f"{host.domains[0]}:{host.port}",
        domains=host.domains,
        include_request_attempt_count=True,
        require_tls="ALL" if host.redirects else "NONE",
    )
    found = [find_routes(db, binding.ref, binding.context) for binding in host.bindings]
    routes = [one for one in found if one is not None]
    some, rest = b"".join(one.some for one in routes), b"".join(one.rest for one in routes)
    return frame_virtual_host(encode(head) + some + rest)


@query
def gateway_hosts(db: Database, name: str, labels: Labels, ports: PortMap, viewer: str) -> tuple[GatewayHost, ...]:
    """Return the virtual hosts under a name of routes, in the order of their hosts."""
    bindings: dict[str, list[Binding]] = {}
    number: dict[str, int] = {}
    redirecting: set[str] = set()
    servers = [one for port in gateway_ports(db, labels, ports) for one in port.servers if one.route_name == name]
    for server in servers:
        redirects = server.server.tls is not None and server.server.tls.https_redirect
        for host, binding in _list_bindings(db, server, viewer):
            number.setdefault(host, server.server.port.number)
            bindings.setdefault(host, []).append(binding)
            if redirects:
                redirecting.add(host)
        for host in server.server.hosts if redirects else ():
            bare = host.rpartition("/")[2].lower()
            number.setdefault(bare, server.server.port.number)
            redirecting.add(bare)
    merged: dict[tuple[tuple[Binding, ...], bool, int], list[str]] = {}
    for host in sorted(number):
        key = (tuple(dict.fromkeys(bindings.get(host, ()))), host in redirecting, number[host])
        merged.setdefault(key, []).append(host)
    return tuple(GatewayHost(tuple(hosts), port, found, tls) for (found, tls, port), hosts in merged.items())


def _list_bindings(db: Database, server: GatewayServer, viewer: str) -> list[tuple[str, Binding]]:
    """Return (host, VirtualService) for those that are bound to a server and have a route there."""
    context = RouteContext(
        port=server.server.port.number,
        gateway=server.gateway,
        viewer=viewer,
        tls=server.server.tls is not None,
    )
    found = []
    for ref in gateway_virtual_services(db, server.gateway, viewer):
        hosts = list_common_hosts(db, server, ref)
        if hosts and find_routes(db, ref, context) is not None:
            found += [(host, Binding(ref, context)) for host in hosts]
    return found


def list_common_hosts(db: Database, server: GatewayServer, ref: ObjectRef) -> tuple[str, ...]:
    """Return the hosts that a server and a VirtualService have in common, in lower case."""
    service = find_virtual_service(db, ref)
    if service is None:
        return ()
    common = [
        intersect(offered.lower(), wanted.lower())
        for offered in list_hosts_for(server.server, ref.namespace)
        for wanted in service.hosts
    ]
    return tuple(dict.fromkeys(host for host in common if host is not None))
