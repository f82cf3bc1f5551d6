"""What discovery tells about the proxies that are connected: sync status and configuration dumps.

Flow: connections of the ADS server -> JSON documents.

Invariants: field names are istiod's, so `istioctl proxy-status` and scripts read them; a dump is what the proxy
would be sent now, computed from the same database, with no secret in it. Source: istiod's /debug/syncz and
/debug/config_dump; envoy/admin/v3/config_dump.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lateen.envoy.messages import build_document, message_class
from lateen.mesh.proxy import Proxy
from lateen.pilot.viewer import ProxyViewer
from lateen.xds.messages import decode_delta_response
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, ResourceSet
from lateen.xds.server import Connection

_SYNC_NAMES: dict[str, str] = {CLUSTER: "cluster", LISTENER: "listener", ROUTE: "route", ENDPOINT: "endpoint"}
_IN_SYNC = "unchanged"
"""Stands for a nonce where a proxy that came back has everything and was sent nothing."""

# type URL -> (section of the dump, list in it, field of each item)
_DUMP_SECTIONS = {
    CLUSTER: ("envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters", "cluster"),
    LISTENER: ("envoy.admin.v3.ListenersConfigDump", "dynamic_listeners", "listener"),
    ROUTE: ("envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs", "route_config"),
    ENDPOINT: ("envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs", "endpoint_config"),
}


def find_proxy(connection: Connection) -> Proxy:
    """The proxy at the other end."""
    viewer = connection.stream.viewer
    assert isinstance(viewer, ProxyViewer)
    return viewer.proxy


def find_connection(connections: Iterable[Connection], proxy_id: str) -> Connection | None:
    """The newest connection of a proxy, named by its node id, `POD.NAMESPACE` or `POD`."""
    found = None
    for connection in connections:
        proxy = find_proxy(connection)
        if proxy_id in (proxy.id, f"{proxy.name}.{proxy.namespace}", proxy.name):
            found = connection
    return found


def build_sync_status(connection: Connection) -> dict[str, Any]:
    """What was sent to a proxy and what it acknowledged, by type, with its refusals."""
    proxy = find_proxy(connection)
    status: dict[str, Any] = {
        "cluster_id": proxy.cluster_id,
        "proxy": f"{proxy.name}.{proxy.namespace}",
        "proxy_type": proxy.type,
    }
    protocol = connection.stream.protocol
    for type_url, subscription in protocol.subscriptions.items():
        short = _SYNC_NAMES.get(type_url)
        if short is None:
            continue
        flight = protocol.flights[type_url]
        idle = "" if subscription.is_due else _IN_SYNC
        status[f"{short}_sent"] = flight.sent_nonce or idle
        status[f"{short}_acked"] = flight.acknowledged_nonce if flight.sent_nonce else idle
        refusals = protocol.refusals.get(type_url)
        if refusals:
            status[f"{short}_refused"] = {name: refusal.message for name, refusal in refusals.items()}
    return status


async def build_config_dump(connection: Connection) -> dict[str, Any]:
    """What a proxy is to have now, in the shape of Envoy's own /config_dump."""
    sections = []
    for type_url, (section, items, field) in _DUMP_SECTIONS.items():
        subscription = connection.stream.protocol.subscriptions.get(type_url)
        if subscription is None:
            continue
        found = await _look_up(connection, type_url, sorted(subscription.names))
        entries = [_build_entry(type_url, field, resource) for resource in found.values()]
        sections.append({"@type": f"type.googleapis.com/{section}", items: entries})
    return {"configs": sections}


async def _look_up(connection: Connection, type_url: str, names: list[str]) -> Mapping[str, Resource]:
    viewer = connection.stream.viewer
    whole_call = viewer.find_call(type_url, None)
    if whole_call is not None:
        (whole,) = await viewer.ask([whole_call])
        assert isinstance(whole, ResourceSet)
        return whole
    values = await viewer.ask([viewer.find_call(type_url, name) for name in names])
    return {value.name: value for value in values if isinstance(value, Resource)}


def _build_entry(type_url: str, field: str, resource: Resource) -> dict[str, Any]:
    _, value = decode_delta_response(resource.body).resources[resource.name]
    message = message_class(type_url.partition("/")[2]).FromString(value)
    content = {"version_info": resource.version, field: {"@type": type_url, **build_document(message)}}
    if type_url == LISTENER:
        return {"name": resource.name, "active_state": content}
    return content
