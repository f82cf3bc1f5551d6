"""The configuration of one Envoy, from wherever it was taken.

Flow: xDS messages, Envoy's /config_dump, or `{listeners, routes, clusters, endpoints}` in JSON -> `Configuration`.
Invariants: listeners keep their order, everything else is found by name; of one name the first counts.
Source: envoy/admin/v3/config_dump.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lateen.envoy.messages import EnvoyMessage, build_document
from lateen.simulate.document import Document, get, items, part, text

# section of a dump -> (where its resources are) as (list, path to the resource)
_SECTIONS: Mapping[str, tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "ListenersConfigDump": (
        "listeners",
        (("staticListeners", ("listener",)), ("dynamicListeners", ("activeState", "listener"))),
    ),
    "RoutesConfigDump": (
        "routes",
        (("staticRouteConfigs", ("routeConfig",)), ("dynamicRouteConfigs", ("routeConfig",))),
    ),
    "ClustersConfigDump": (
        "clusters",
        (("staticClusters", ("cluster",)), ("dynamicActiveClusters", ("cluster",))),
    ),
    "EndpointsConfigDump": (
        "endpoints",
        (("staticEndpointConfigs", ("endpointConfig",)), ("dynamicEndpointConfigs", ("endpointConfig",))),
    ),
}
_MESSAGES = {
    "envoy.config.listener.v3.Listener": "listeners",
    "envoy.config.route.v3.RouteConfiguration": "routes",
    "envoy.config.cluster.v3.Cluster": "clusters",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "endpoints",
}


@dataclass(frozen=True)
class Configuration:
    """Listeners in order; route configurations, clusters and load assignments by name."""

    listeners: tuple[Document, ...]
    routes: Mapping[str, Document]
    clusters: Mapping[str, Document]
    endpoints: Mapping[str, Document]


def build_configuration(messages: Iterable[EnvoyMessage]) -> Configuration:
    """The configuration that xDS messages make, in any order; messages of other types are left out."""
    found: dict[str, list[Document]] = {kind: [] for kind in _MESSAGES.values()}
    for message in messages:
        kind = _MESSAGES.get(message.DESCRIPTOR.full_name)
        if kind is not None:
            found[kind].append(build_document(message))
    return _build(found)


def read_configuration(document: Mapping[str, Any]) -> Configuration:
    """The configuration in a JSON document: a config dump, or lists (or maps by name) of resources."""
    if "configs" in document:
        return _read_dump(items(document, "configs"))
    document = document.get("xds", document)
    return _build({kind: list(_values(document.get(kind) or ())) for kind in _MESSAGES.values()})


def _values(resources: Any) -> Iterable[Document]:
    return resources.values() if isinstance(resources, Mapping) else resources


def _read_dump(sections: Iterable[Document]) -> Configuration:
    found: dict[str, list[Document]] = {kind: [] for kind in _MESSAGES.values()}
    for section in sections:
        known = _SECTIONS.get(str(section.get("@type", "")).rpartition(".")[2])
        if known is not None:
            kind, lists = known
            found[kind].extend(_find_resources(section, lists))
    return _build(found)


def _find_resources(section: Document, lists: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[Document]:
    for name, path in lists:
        for entry in items(section, name):
            if resource := part(entry, *path):
                yield resource


def _build(found: Mapping[str, list[Document]]) -> Configuration:
    def by_name(kind: str, field: str = "name") -> dict[str, Document]:
        named: dict[str, Document] = {}
        for one in found[kind]:
            named.setdefault(text(one, field), one)
        return named

    listeners = tuple(by_name("listeners").values()) if _all_named(found["listeners"]) else tuple(found["listeners"])
    return Configuration(listeners, by_name("routes"), by_name("clusters"), by_name("endpoints", "clusterName"))


def _all_named(listeners: Iterable[Document]) -> bool:
    return all(get(one, "name") for one in listeners)
