"""The way into translation: which query answers what a proxy asks for.

(proxy, type URL, name) -> Call for `Database.ask`.

| type | name | value |
| --- | --- | --- |
| CDS, LDS | None: the whole set | ResourceSet |
| EDS, RDS | one resource | Resource, None when there is none |

Invariants: the outermost queries know the proxy and only pick the arguments of the shared ones: outbound configuration
is computed per scope, inbound per workload, endpoints per cluster, so that proxies which would get the same bytes
get the same object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.errors import NotFoundError
from lateen.incremental.cells import Call
from lateen.incremental.query import query
from lateen.mesh.gateway import find_port_map
from lateen.mesh.proxy import Proxy
from lateen.mesh.service import Target, Workload, addressed_targets, find_workload, targets
from lateen.mesh.visibility import Scope, find_scope
from lateen.translate.endpoint import proxy_load_assignment
from lateen.translate.gateway_listener import gateway_listeners
from lateen.translate.gateway_route import gateway_route_configuration
from lateen.translate.inbound import inbound_listener
from lateen.translate.inbound_app import inbound_clusters
from lateen.translate.outbound import outbound_listeners
from lateen.translate.outbound_cluster import outbound_clusters
from lateen.translate.route import route_configuration
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, ResourceSet

if TYPE_CHECKING:
    from lateen.incremental.database import Database


def find_call(proxy: Proxy, type_url: str, name: str | None = None) -> Call:
    """Return the call whose value answers a proxy; raises NotFoundError for a type that is not served."""
    if name is None and type_url == CLUSTER:
        return proxy_clusters.call(proxy)
    if name is None and type_url == LISTENER:
        return proxy_listeners.call(proxy)
    if name is not None and type_url == ENDPOINT:
        return proxy_load_assignment.call(proxy.namespace, name)
    if name is not None and type_url == ROUTE:
        return proxy_routes.call(proxy, name)
    raise NotFoundError(f"discovery does not serve {type_url} {name or '(all)'}")


@query
def proxy_clusters(db: Database, proxy: Proxy) -> ResourceSet:
    """Return every cluster of a proxy."""
    scope = find_proxy_scope(db, proxy)
    if proxy.type == "router":
        return clusters(db, scope.viewer, None)
    found = targets(db, find_workload(db, proxy), addressed_targets(db, proxy.addresses))
    return clusters(db, scope.viewer, found)


@query
def proxy_listeners(db: Database, proxy: Proxy) -> ResourceSet:
    """Return every listener of a proxy; a gateway has none unless a Gateway gives it some."""
    addressed = addressed_targets(db, proxy.addresses)
    workload = find_workload(db, proxy)
    if proxy.type == "router":
        ports = find_port_map(db, targets(db, workload, addressed))
        return gateway_listeners(db, workload.namespace, workload.labels, ports, find_proxy_scope(db, proxy).viewer)
    return listeners(db, find_proxy_scope(db, proxy), workload, addressed)


@query
def proxy_routes(db: Database, proxy: Proxy, name: str) -> Resource | None:
    """Return a route configuration of a proxy, None when none of its listeners asks for that name."""
    if proxy.type == "router":
        workload = find_workload(db, proxy)
        ports = find_port_map(db, targets(db, workload, addressed_targets(db, proxy.addresses)))
        viewer = find_proxy_scope(db, proxy).viewer
        return gateway_route_configuration(db, name, workload.labels, ports, viewer)
    return route_configuration(db, name, proxy.namespace, find_proxy_scope(db, proxy))


def find_proxy_scope(db: Database, proxy: Proxy) -> Scope:
    """Return the scope of a proxy."""
    return find_scope(db, proxy.namespace, find_workload(db, proxy).labels)


@query
def clusters(db: Database, viewer: str, ports: tuple[tuple[int, tuple[Target, ...]], ...] | None) -> ResourceSet:
    """Return the clusters that a viewer sees, with those of a workload's ports; None is for a proxy before no app."""
    inbound = () if ports is None else inbound_clusters(db, ports)
    return ResourceSet((*outbound_clusters(db, viewer), *inbound))


@query
def listeners(db: Database, scope: Scope, workload: Workload, addressed: tuple[Target, ...]) -> ResourceSet:
    """Return the listeners of a scope, with the inbound listener of a workload."""
    return ResourceSet((*outbound_listeners(db, scope), inbound_listener(db, workload, addressed)))
