"""Which configuration objects an Envoy applies to a service: its dump -> (kind, namespace, name).

Invariant: the answer is the proxy's, not ours: a stale proxy names an object that is gone, which the caller then tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lateen.cli.proxy_config.cluster import split_cluster_name
from lateen.cli.proxy_config.dump import ConfigDump, Document
from lateen.cli.proxy_config.matching import describe_config


class Reference(NamedTuple):
    """An object that some Envoy's configuration comes from."""

    namespace: str
    name: str


def find_destination_rule(dump: ConfigDump, host: str, port: int) -> Reference | None:
    """The DestinationRule behind the clusters of a host's port."""
    for cluster in dump.clusters():
        direction, number, _, name = split_cluster_name(cluster.get("name", ""))
        if (direction, number, name) == ("outbound", port, host) and (found := _parse(cluster)):
            return found
    return None


def find_virtual_services(dump: ConfigDump, host: str, port: int) -> list[Reference]:
    """The VirtualServices of the virtual host of that name, or of routes that lead to it; each once, in order."""
    found: dict[Reference, None] = {}
    for configuration in dump.routes():
        for virtual_host in configuration.get("virtualHosts", ()):
            own = virtual_host.get("name") == f"{host}:{port}"
            for route in virtual_host.get("routes", ()):
                if own or _leads_to(route, host, port):
                    reference = _parse(route)
                    found |= {reference: None} if reference else {}
    return list(found)


def _leads_to(route: Document, host: str, port: int) -> bool:
    for name in _clusters_of(route.get("route", {})):
        direction, number, _, target = split_cluster_name(name)
        if (direction, number, target) == ("outbound", port, host):
            return True
    return False


def _clusters_of(action: Document) -> Iterator[str]:
    if "cluster" in action:
        yield action["cluster"]
    for each in action.get("weightedClusters", {}).get("clusters", ()):
        yield each.get("name", "")


def _parse(resource: Document) -> Reference | None:
    name, separator, namespace = describe_config(resource).rpartition(".")
    return Reference(namespace, name) if separator else None
