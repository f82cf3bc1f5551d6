"""Laws of translation: order does not matter, names resolve, warm equals cold, cost follows the change."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_case import Configuration, build_changes, build_database, build_proxy, configure, find_route_names
from routing_mesh import routing_objects

from lateen.envoy.messages import EnvoyMessage, decode
from lateen.incremental.database import Database
from lateen.mesh.inputs import changes_of

NAMESPACES = ("default", "shop")
PORT_NAMES = ("http", "grpc", "tcp", "unnamed", "https")
CLIENT = build_proxy("default", "pod-0", "10.244.0.0")
GATEWAY = build_proxy("istio-system", "gateway-0", "10.244.0.99", "router", LABELS={"app": "app-0"})


@st.composite
def services(draw: st.DrawFn, number: int) -> dict[str, Any]:
    headless = draw(st.booleans())
    ports = draw(st.lists(st.tuples(st.sampled_from(PORT_NAMES), st.integers(80, 84)), min_size=1, max_size=3))
    named = {port: {"name": f"{name}-{port}", "port": port, "targetPort": 8000 + port} for name, port in ports}
    annotations = draw(
        st.sampled_from([{}, {"networking.istio.io/exportTo": "."}, {"networking.istio.io/exportTo": "*"}])
    )
    return {
        "kind": "Service",
        "metadata": {
            "name": f"service-{number}",
            "namespace": draw(st.sampled_from(NAMESPACES)),
            "annotations": annotations,
            "creationTimestamp": draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])),
        },
        "spec": {
            "clusterIP": "None" if headless else f"10.96.0.{draw(st.integers(1, 4))}",
            "selector": {"app": f"app-{draw(st.integers(0, 2))}"},
            "ports": list(named.values()),
        },
    }


@st.composite
def pods(draw: st.DrawFn, number: int) -> dict[str, Any]:
    containers = [{"name": "app", "image": "x"}]
    if draw(st.booleans()) or number == 0:
        containers.append({"name": "istio-proxy", "image": "x"})
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"pod-{number}",
            "namespace": "default" if number == 0 else draw(st.sampled_from(NAMESPACES)),
            "labels": {"app": f"app-{draw(st.integers(0, 2))}"},
        },
        "spec": {"serviceAccountName": draw(st.sampled_from(["a", "b"])), "containers": containers},
        "status": {"phase": "Running", "podIP": f"10.244.0.{number}"},
    }


@st.composite
def peer_authentications(draw: st.DrawFn, number: int) -> dict[str, Any]:
    modes = st.sampled_from(["UNSET", "DISABLE", "PERMISSIVE", "STRICT"])
    spec: dict[str, Any] = {"mtls": {"mode": draw(modes)}}
    if draw(st.booleans()):
        spec["selector"] = {"matchLabels": {"app": f"app-{draw(st.integers(0, 2))}"}}
        spec["portLevelMtls"] = {str(draw(st.integers(8080, 8084))): {"mode": draw(modes)}}
    namespace = draw(st.sampled_from((*NAMESPACES, "istio-system")))
    metadata = {"name": f"policy-{number}", "namespace": namespace}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


@st.composite
def authorization_policies(draw: st.DrawFn, number: int) -> dict[str, Any]:
    providers = st.sampled_from(["by-http", "nowhere"])
    rules = st.sampled_from(
        [
            {},
            {"from": [{"source": {"namespaces": ["shop"]}}]},
            {"to": [{"operation": {"methods": ["GET"], "ports": ["8080"]}}]},
            {"when": [{"key": "unknown", "values": ["x"]}]},
        ]
    )
    spec: dict[str, Any] = {
        "action": draw(st.sampled_from(["ALLOW", "DENY", "AUDIT", "CUSTOM"])),
        "provider": {"name": draw(providers)},
        "rules": draw(st.lists(rules, max_size=2)),
    }
    if draw(st.booleans()):
        spec["selector"] = {"matchLabels": {"app": f"app-{draw(st.integers(0, 2))}"}}
    metadata = {
        "name": f"policy-{number}",
        "namespace": draw(st.sampled_from((*NAMESPACES, "istio-system"))),
        "annotations": {"istio.io/dry-run": draw(st.sampled_from(["true", "false"]))},
    }
    return {"kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}


AUTHORIZER = {"name": "by-http", "envoyExtAuthzHttp": {"service": "service-0.default.svc.cluster.local", "port": 80}}
MESH_CONFIG = {
    "kind": "ConfigMap",
    "metadata": {"name": "istio", "namespace": "istio-system"},
    "data": {"mesh": json.dumps({"extensionProviders": [AUTHORIZER]})},
}


@st.composite
def meshes(draw: st.DrawFn) -> list[dict[str, Any]]:
    found_services = [draw(services(number)) for number in range(draw(st.integers(1, 4)))]
    found_pods = [draw(pods(number)) for number in range(draw(st.integers(1, 3)))]
    policies = [draw(peer_authentications(number)) for number in range(draw(st.integers(0, 2)))]
    policies += [draw(authorization_policies(number)) for number in range(draw(st.integers(0, 3)))]
    slices = [
        {
            "kind": "EndpointSlice",
            "metadata": {
                "name": service["metadata"]["name"],
                "namespace": service["metadata"]["namespace"],
                "labels": {"kubernetes.io/service-name": service["metadata"]["name"]},
            },
            "endpoints": [
                {
                    "addresses": [pod["status"]["podIP"]],
                    "conditions": {"ready": draw(st.booleans())},
                    "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
                }
                for pod in found_pods
                if pod["metadata"]["labels"] == service["spec"]["selector"]
            ],
            "ports": [{"name": port["name"], "port": port["targetPort"]} for port in service["spec"]["ports"]],
        }
        for service in found_services
    ]
    return [MESH_CONFIG, *found_services, *found_pods, *policies, *slices, *draw(routing_objects())]


def find_cluster_names(configuration: Configuration) -> set[str]:
    """Return every cluster that a listener or route sends to."""
    names: set[str] = set()
    for listener in configuration.listeners.values():
        for chain in [*listener.filter_chains, listener.default_filter_chain]:
            for one in chain.filters:
                config = decode(one.typed_config.type_url.rpartition("/")[2], one.typed_config.value)
                if one.name.endswith("tcp_proxy"):
                    names |= {weighted.name for weighted in config.weighted_clusters.clusters} or {config.cluster}
                elif one.name.endswith("http_connection_manager"):
                    names |= find_routed_clusters(config.route_config)
                    names |= find_authorizers(config)
    for routes in configuration.routes.values():
        names |= find_routed_clusters(routes)
    return names


def find_authorizers(manager: EnvoyMessage) -> set[str]:
    """Return the clusters that filters of requests ask for leave."""
    name = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
    configs = [decode(name, one.typed_config.value) for one in manager.http_filters if one.name.endswith("ext_authz")]
    return {config.http_service.server_uri.cluster for config in configs}


def find_routed_clusters(routes: EnvoyMessage) -> set[str]:
    actions = [route.route for host in routes.virtual_hosts for route in host.routes if route.HasField("route")]
    weighted = {one.name for action in actions for one in action.weighted_clusters.clusters}
    return weighted | {action.cluster for action in actions if action.cluster}


def find_destinations(documents: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return the (subset, beginning of the host) pairs that VirtualServices name, rightly or wrongly."""
    found = set()
    for document in documents:
        if document["kind"] == "VirtualService":
            spec = document["spec"]
            for route in (*spec["http"], *spec["tcp"], *spec["tls"]):
                for one in route["route"]:
                    found.add((one["destination"].get("subset", ""), one["destination"]["host"]))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meshes(), st.randoms(use_true_random=False))
def test_order_of_objects_and_commits_does_not_matter(
    documents: list[dict[str, Any]], random_order: random.Random
) -> None:
    shuffled = documents.copy()
    random_order.shuffle(shuffled)
    one_by_one = Database()
    for document in shuffled:
        one_by_one.commit(build_changes([document]))
        configure(one_by_one, CLIENT)
    for proxy in (CLIENT, GATEWAY):
        assert configure(one_by_one, proxy) == configure(build_database(documents), proxy)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meshes())
def test_every_name_exists_and_no_domain_or_address_is_taken_twice(documents: list[dict[str, Any]]) -> None:
    for proxy in (CLIENT, GATEWAY):
        check_names(configure(build_database(documents), proxy), documents)


def check_names(configuration: Configuration, documents: list[dict[str, Any]]) -> None:
    named = find_destinations(documents)
    for name in find_cluster_names(configuration) - configuration.clusters.keys():
        _, _, subset, host = name.split("|")
        assert any(subset == wanted and host.startswith(start) for wanted, start in named), name
    asked = {name for listener in configuration.listeners.values() for name in find_route_names(listener)}
    assert asked == configuration.routes.keys()
    for routes in configuration.routes.values():
        domains = [domain for host in routes.virtual_hosts for domain in host.domains]
        assert len(domains) == len(set(domains))
    addresses = [str(listener.address) for listener in configuration.listeners.values()]
    assert len(addresses) == len(set(addresses))
    for listener in configuration.listeners.values():
        matches = [str(chain.filter_chain_match) for chain in listener.filter_chains]
        assert len(matches) == len(set(matches))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meshes(), st.data())
def test_warm_database_equals_cold_after_deletions(documents: list[dict[str, Any]], data: st.DataObject) -> None:
    warm = build_database(documents)
    configure(warm, CLIENT)
    deleted = data.draw(st.lists(st.sampled_from(range(len(documents))), unique=True))
    for place in deleted:
        document = documents[place]
        warm.commit(changes_of(document["kind"], document, None))
        configure(warm, CLIENT)
    left = [document for place, document in enumerate(documents) if place not in deleted]
    assert configure(warm, CLIENT) == configure(build_database(left), CLIENT)


def build_big_mesh(count: int) -> list[dict[str, Any]]:
    return [build_service(number, 8000) for number in range(count)]


def build_service(number: int, target: int, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": f"service-{number}", "namespace": f"team-{number % 20}"},
        "spec": {
            "clusterIP": f"10.96.{number // 250}.{number % 250 + 1}",
            "ports": [{"name": "http", "port": 80, "targetPort": target}, {"name": "tcp", "port": 90}],
        }
        | spec,
    }


def ask_everything(database: Database) -> Configuration:
    return configure(database, build_proxy("team-1", "client", "10.244.0.1"))


@pytest.mark.parametrize(
    ("changed", "most"),
    [
        pytest.param(build_service(7, 8001), 10, id="target port that clients do not see"),
        pytest.param(build_service(7, 8000, clusterIP="10.96.200.1"), 20, id="virtual address"),
        pytest.param(build_service(7, 8000, ports=[{"name": "http", "port": 80}]), 18, id="a port less"),
    ],
)
def test_one_changed_service_among_a_thousand_recomputes_a_handful(changed: dict[str, Any], most: int) -> None:
    database = build_database(build_big_mesh(1000))
    ask_everything(database)
    before = database.counts.recomputed
    database.commit(changes_of("Service", build_service(7, 8000), changed))
    ask_everything(database)
    assert 0 < database.counts.recomputed - before <= most


def test_changed_status_recomputes_nothing() -> None:
    documents = build_big_mesh(10)
    database = build_database(documents)
    ask_everything(database)
    before = database.counts.recomputed
    changed = documents[3] | {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}}
    changed["metadata"] = changed["metadata"] | {"resourceVersion": "7"}
    commit = database.commit(changes_of("Service", documents[3], changed))
    ask_everything(database)
    assert not commit.dirty
    assert database.counts.recomputed == before


def test_second_proxy_of_the_same_scope_costs_almost_nothing() -> None:
    database = build_database(build_big_mesh(200))
    ask_everything(database)
    before = database.counts.recomputed
    configure(database, build_proxy("team-1", "another", "10.244.0.2"))
    assert database.counts.recomputed - before <= 10


def test_change_of_one_service_reaches_the_resources_that_name_it_only() -> None:
    database = build_database(build_big_mesh(50))
    before = ask_everything(database)
    database.commit(changes_of("Service", None, build_service(7, 8000, clusterIP="10.96.200.1")))
    after = ask_everything(database)
    assert after.clusters == before.clusters
    changed = {name for name in after.listeners if after.listeners[name] != before.listeners.get(name)}
    assert changed == {"10.96.200.1_90"}
    assert [name for name in after.routes if after.routes[name] != before.routes[name]] == ["80"]


def build_routes(number: int, timeout: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": f"routes-{number}", "namespace": f"team-{number % 20}"},
        "spec": {
            "hosts": [f"service-{number}"],
            "gateways": ["mesh", "default/edge"],
            "http": [{"route": [{"destination": {"host": f"service-{number}", "subset": "v1"}}], "timeout": timeout}],
        },
    }


def build_rule(number: int, limit: int) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": f"rule-{number}", "namespace": f"team-{number % 20}"},
        "spec": {
            "host": f"service-{number}",
            "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": limit}}},
            "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        },
    }


EDGE = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "default"},
    "spec": {
        "selector": {"app": "app-0"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
    },
}


@pytest.mark.parametrize(
    ("old", "new", "most"),
    [
        pytest.param(build_routes(7, "1s"), build_routes(7, "2s"), 16, id="routes"),
        pytest.param(build_rule(7, 1), build_rule(7, 2), 14, id="traffic policy"),
    ],
)
def test_one_changed_routing_object_among_hundreds_recomputes_its_own(
    old: dict[str, Any], new: dict[str, Any], most: int
) -> None:
    routing = [one for number in range(300) for one in (build_routes(number, "1s"), build_rule(number, 1))]
    database = build_database([*build_big_mesh(300), *routing, EDGE])
    for proxy in (CLIENT, GATEWAY):
        configure(database, proxy)
    before = database.counts.recomputed
    database.commit(changes_of(old["kind"], old, new))
    for proxy in (CLIENT, GATEWAY):
        configure(database, proxy)
    assert 0 < database.counts.recomputed - before <= most


def test_proxies_of_namespaces_with_rules_of_their_own_services_share_clusters() -> None:
    database = build_database([*build_big_mesh(100), *(build_rule(number, 1) for number in range(100))])
    configure(database, build_proxy("team-1", "one", "10.244.0.1"))
    before = database.counts.recomputed
    other = configure(database, build_proxy("team-2", "other", "10.244.0.2"))
    assert database.counts.recomputed - before <= 30 + len(other.endpoints)
