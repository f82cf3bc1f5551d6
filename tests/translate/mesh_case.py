"""Builds a mesh from YAML, asks for a proxy's whole configuration, and has the real Envoy check it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from lateen.envoy.bootstrap import ProxyIdentity, build_bootstrap
from lateen.envoy.messages import EnvoyMessage, build_document, decode
from lateen.incremental.database import Database
from lateen.mesh.inputs import changes_of
from lateen.mesh.proxy import Proxy
from lateen.translate.generate import find_call
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource

MESSAGE_NAMES = {
    CLUSTER: "envoy.config.cluster.v3.Cluster",
    ENDPOINT: "envoy.config.endpoint.v3.ClusterLoadAssignment",
    LISTENER: "envoy.config.listener.v3.Listener",
    ROUTE: "envoy.config.route.v3.RouteConfiguration",
}


@dataclass(frozen=True)
class Configuration:
    """Everything that one proxy is told, as messages by name."""

    clusters: dict[str, EnvoyMessage]
    endpoints: dict[str, EnvoyMessage]
    listeners: dict[str, EnvoyMessage]
    routes: dict[str, EnvoyMessage]

    def build_document(self) -> dict[str, Any]:
        return {
            kind: {name: build_document(message) for name, message in sorted(messages.items())}
            for kind, messages in vars(self).items()
        }


def load_documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def build_changes(documents: Iterable[dict[str, Any]]) -> list[Any]:
    return [change for document in documents for change in changes_of(document["kind"], None, document)]


def build_database(documents: Iterable[dict[str, Any]]) -> Database:
    database = Database()
    database.commit(build_changes(documents))
    return database


def build_proxy(namespace: str, name: str, address: str, kind: str = "sidecar", **fields: Any) -> Proxy:
    node = f"{kind}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"
    return Proxy.from_node(node, fields)


def list_proxies(documents: Iterable[dict[str, Any]]) -> list[Proxy]:
    """Return the proxies of the pods that carry one; a gateway where it is alone."""
    proxies = []
    for pod in documents:
        if pod["kind"] != "Pod":
            continue
        containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
        if any(container["name"] == "istio-proxy" for container in containers):
            metadata = pod["metadata"]
            address = pod["status"]["podIP"]
            kind = "sidecar" if len(containers) > 1 else "router"
            proxies.append(build_proxy(metadata["namespace"], metadata["name"], address, kind))
    return proxies


def read_resource(type_url: str, resource: Resource) -> EnvoyMessage:
    """Return the message inside a resource, by way of the bytes that Envoy gets."""
    response = decode("envoy.service.discovery.v3.DiscoveryResponse", resource.any_field)
    (packed,) = response.resources
    assert packed.type_url == type_url
    return decode(MESSAGE_NAMES[type_url], packed.value)


def find_route_names(listener: EnvoyMessage) -> set[str]:
    """Return the route configurations that a listener asks discovery for."""
    chains = [*listener.filter_chains, listener.default_filter_chain]
    names = set()
    for chain in chains:
        for one in chain.filters:
            if one.name == "envoy.filters.network.http_connection_manager":
                manager = decode(one.typed_config.type_url.rpartition("/")[2], one.typed_config.value)
                names.add(manager.rds.route_config_name)
    return names - {""}


def configure(database: Database, proxy: Proxy) -> Configuration:
    """Return what a proxy is told, asking as Envoy does: endpoints by cluster, routes by listener."""
    clusters = {name: read_resource(CLUSTER, one) for name, one in database.ask(find_call(proxy, CLUSTER)).items()}
    listeners = {name: read_resource(LISTENER, one) for name, one in database.ask(find_call(proxy, LISTENER)).items()}
    eds_type = 3
    endpoint_names = [name for name, cluster in clusters.items() if cluster.type == eds_type]
    route_names = sorted({name for listener in listeners.values() for name in find_route_names(listener)})
    return Configuration(
        clusters=clusters,
        endpoints=_ask_each(database, proxy, ENDPOINT, endpoint_names),
        listeners=listeners,
        routes=_ask_each(database, proxy, ROUTE, route_names),
    )


def _ask_each(database: Database, proxy: Proxy, type_url: str, names: Iterable[str]) -> dict[str, EnvoyMessage]:
    found = {}
    for name in names:
        resource = database.ask(find_call(proxy, type_url, name))
        assert resource is not None, f"Envoy would wait for {type_url} {name} for ever"
        found[name] = read_resource(type_url, resource)
    return found


def build_static_bootstrap(configuration: Configuration) -> dict[str, Any]:
    """Return a bootstrap that holds the configuration itself, so that Envoy checks every message of it.

    Route configurations go into a listener each, assignments into a cluster each.
    """
    identity = ProxyIdentity(name="checked", namespace="default", ip="10.244.0.1")
    bootstrap = build_bootstrap(identity, "/var/run/lateen/ads.sock")
    static = bootstrap["staticResources"]
    document = configuration.build_document()
    static["clusters"] += document["clusters"].values()
    for number, assignment in enumerate(document["endpoints"].values()):
        name = f"endpoints-{number}"
        assignment = assignment | {"clusterName": name}
        static["clusters"].append({"name": name, "type": "STATIC", "loadAssignment": assignment})
    static["listeners"] += document["listeners"].values()
    for number, routes in enumerate(document["routes"].values()):
        static["listeners"].append(_build_route_listener(number, routes))
    return bootstrap


def _build_route_listener(number: int, routes: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "statPrefix": "checked",
        "routeConfig": routes,
        "httpFilters": [
            {
                "name": "envoy.filters.http.router",
                "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager}]
    return {
        "name": f"routes-{number}",
        "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 20000 + number}},
        "filterChains": [{"filters": filters}],
    }
