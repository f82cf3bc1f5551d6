"""Each mistake in a mesh gives its one finding, and a mesh without mistakes gives none."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lateen.base.diagnostics import Diagnostic
from lateen.base.names import ObjectRef
from lateen.galley.analyze import analyze, analyze_documents
from lateen.incremental.database import Database
from lateen.mesh.inputs import DESTINATION_RULES, changes_of

HOST = "reviews.shop.svc.cluster.local"


def build(kind: str, name: str, spec: dict[str, Any], namespace: str = "shop", **labels: str) -> dict[str, Any]:
    group = "v1" if kind in {"Service", "Pod"} else "networking.istio.io/v1"
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def build_pod(name: str, namespace: str = "shop", **labels: str) -> dict[str, Any]:
    return build("Pod", name, {"containers": [{"name": "app", "image": "x"}]}, namespace, **labels)


def build_service(name: str, *, ready: bool = True) -> list[dict[str, Any]]:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}], "clusterIP": "10.96.0.9"}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.244.0.5"], "conditions": {"ready": ready}}],
    }
    return [build("Service", name, spec), endpoints]


def share(host: str = "reviews", subset: str = "", **fields: Any) -> dict[str, Any]:
    return {"destination": {"host": host, **({"subset": subset} if subset else {})}, **fields}


def build_route(name: str = "reviews", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    plain = {"hosts": [name], "http": [{"route": [share(subset="v1", weight=3), share(subset="v2", weight=1)]}]}
    return build("VirtualService", name, plain | spec, namespace)


def build_rule(*versions: str, host: str = "reviews", name: str = "reviews") -> dict[str, Any]:
    subsets = [{"name": version, "labels": {"version": version}} for version in versions]
    return build("DestinationRule", name, {"host": host, "subsets": subsets})


def build_gateway(*hosts: str, selector: str = "ingressgateway") -> dict[str, Any]:
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": list(hosts)}
    return build("Gateway", "edge", {"selector": {"istio": selector}, "servers": [server]})


MESH = [
    *build_service("reviews"),
    build_pod("reviews-1", app="reviews", version="v1"),
    build_pod("reviews-2", app="reviews", version="v2"),
    build_pod("gateway", namespace="istio-system", istio="ingressgateway"),
    build_rule("v1", "v2"),
    build_gateway("*.example.com"),
    build_route(),
    build_route("shop.example.com", gateways=["edge", "mesh"]),
]


def find(*changed: dict[str, Any], workloads: bool = True) -> list[tuple[str, str, str]]:
    return [(one.code, one.subject, one.path) for one in find_all(*changed, workloads=workloads)]


def find_all(*changed: dict[str, Any], workloads: bool = True) -> tuple[Diagnostic, ...]:
    return analyze_documents(copy.deepcopy([*MESH, *changed]), workloads=workloads)


def test_a_mesh_without_mistakes_has_no_findings() -> None:
    assert find() == []


REVIEWS = "VirtualService shop/reviews"
ROUTE = "spec.http[0].route"


@pytest.mark.parametrize(
    ("changed", "code", "subject", "path"),
    [
        pytest.param(
            build_route(http=[{"route": [share(weight=1), share("nobody", weight=1)]}]),
            "IST0101",
            REVIEWS,
            f"{ROUTE}[1].destination.host",
            id="unknown host",
        ),
        pytest.param(
            build_route(http=[{"route": [share(weight=1), share(subset="v9", weight=1)]}]),
            "IST0101",
            REVIEWS,
            f"{ROUTE}[1].destination.subset",
            id="unknown subset",
        ),
        pytest.param(
            build_route(gateways=["mesh", "nothing"]), "IST0101", REVIEWS, "spec.gateways[1]", id="missing Gateway"
        ),
        pytest.param(
            build_route(http=[{"match": [{"gateways": ["other/edge"]}], "route": [share()]}]),
            "IST0101",
            REVIEWS,
            "spec.http[0].match[0].gateways[0]",
            id="missing Gateway of a match",
        ),
        pytest.param(
            build_route(http=[{"delegate": {"name": "nothing"}}]),
            "IST0101",
            REVIEWS,
            "spec.http[0].delegate.name",
            id="missing delegate",
        ),
        pytest.param(
            build_route(http=[{"route": [share()], "mirror": {"host": "nobody"}}]),
            "IST0101",
            REVIEWS,
            "spec.http[0].mirror.host",
            id="unknown host of copies",
        ),
        pytest.param(
            build_route(http=[], tcp=[{"route": [share("nobody")]}]),
            "IST0101",
            REVIEWS,
            "spec.tcp[0].route[0].destination.host",
            id="unknown host of a TCP route",
        ),
        pytest.param(
            build_rule(host="nobody", name="nobody"), "IST0101", "DestinationRule shop/nobody", "spec.host", id="rule"
        ),
        pytest.param(
            build_gateway("*.example.com", selector="elsewhere"),
            "IST0101",
            "Gateway shop/edge",
            "spec.selector",
            id="Gateway without pods",
        ),
        pytest.param(
            build_route(http=[{"route": [share(weight=1), share(weight=-1)]}]),
            "IST0106",
            REVIEWS,
            f"{ROUTE}[1].weight",
            id="negative weight",
        ),
        pytest.param(
            build_route(http=[{"route": [share(weight=0), share(weight=0)]}]),
            "IST0106",
            REVIEWS,
            ROUTE,
            id="only weights of 0",
        ),
        pytest.param(
            build_route(http=[{"route": [share(weight="many")]}]),
            "IST0106",
            REVIEWS,
            f"{ROUTE}[0].weight",
            id="a weight that is no number",
        ),
        pytest.param(build_route(hosts=["reviews", ""]), "IST0106", REVIEWS, "spec.hosts[1]", id="empty host"),
        pytest.param(
            build_route(http=[{"route": [share("")]}]),
            "IST0106",
            REVIEWS,
            f"{ROUTE}[0].destination.host",
            id="destination without host",
        ),
        pytest.param(
            build_route(http=[{"match": [{"headers": {"end-user": {"regex": "("}}}], "route": [share()]}]),
            "IST0122",
            REVIEWS,
            "spec.http[0].match[0].headers[end-user].regex",
            id="no regular expression",
        ),
        pytest.param(
            build_route("shop.example.org", gateways=["edge"]),
            "IST0132",
            "VirtualService shop/shop.example.org",
            "spec.hosts[0]",
            id="host that the Gateway does not serve",
        ),
        pytest.param(
            build_route("shop.example.com", gateways=["edge"], hosts=["a.example.com", "b.example.org"]),
            "IST0132",
            "VirtualService shop/shop.example.com",
            "spec.hosts[1]",
            id="second host that the Gateway does not serve",
        ),
        pytest.param(
            build_rule("v1", "v2", "v3"),
            "IST0173",
            "DestinationRule shop/reviews",
            "spec.subsets[2]",
            id="subset without pods",
        ),
        pytest.param(build_route("lost", hosts=[]), "LTN0402", "VirtualService shop/lost", "spec.hosts", id="no hosts"),
    ],
)
def test_a_mistake_is_found_with_object_and_field(changed: dict[str, Any], code: str, subject: str, path: str) -> None:
    assert find(changed) == [(code, subject, path)]


def test_two_that_route_one_host_name_each_other() -> None:
    found = find_all(build_route("other", namespace="team", hosts=[HOST], http=[{"route": [share(HOST)]}]))
    assert [(one.code, one.subject, one.path) for one in found] == [
        ("IST0109", "VirtualService shop/reviews", "spec.hosts[0]"),
        ("IST0109", "VirtualService team/other", "spec.hosts[0]"),
    ]
    assert "VirtualService team/other" in found[0].message
    assert "VirtualService shop/reviews" in found[1].message


def test_routes_that_no_client_sees_together_do_not_conflict() -> None:
    own = build_route(exportTo=["."])
    assert find(own, build_route("other", "team", hosts=[HOST], http=[{"route": [share(HOST)]}], exportTo=["."])) == []


def test_a_service_without_ready_endpoints_is_found_where_a_route_sends_to_it() -> None:
    quiet = build_service("quiet", ready=False)
    assert find(*quiet) == []
    routed = build_route("quiet", http=[{"route": [share("quiet")]}])
    expected = ("LTN0401", "VirtualService shop/quiet", f"{ROUTE}[0].destination.host")
    assert find(*quiet, routed) == [expected]
    assert find(*quiet, routed, workloads=False) == []


def test_hosts_of_service_entries_and_delegates_are_known() -> None:
    spec = {"hosts": ["*.example.net"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
    entry = build("ServiceEntry", "outside", spec)
    root = build_route("root.example.com", http=[{"delegate": {"name": "part"}}])
    part = build_route("part", hosts=[], http=[{"route": [share("api.example.net")]}])
    assert find(entry, root, part) == []


def test_subsets_of_a_wildcard_rule_are_known() -> None:
    rule = build_rule("v3", host="*.shop.svc.cluster.local", name="all")
    assert find(rule, build_route(http=[{"route": [share(subset="v3")]}])) == []


def test_a_finding_goes_when_what_it_missed_comes() -> None:
    db = Database()
    db.commit(change for document in MESH for change in changes_of(document["kind"], None, document))
    assert analyze(db) == ()
    rule = build_rule("v1", "v2")
    db.commit(changes_of("DestinationRule", rule, None))
    paths = [one.path for one in analyze(db) if one.subject == REVIEWS]
    assert paths == [f"{ROUTE}[0].destination.subset", f"{ROUTE}[1].destination.subset"]
    db.commit(changes_of("DestinationRule", None, rule))
    assert analyze(db) == ()
    assert (DESTINATION_RULES, ObjectRef("DestinationRule", "shop", "reviews")) in db.why(analyze.call())
