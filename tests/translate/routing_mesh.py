"""Random objects that route traffic, for the laws of translation: some right, some broken, some in conflict."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMESPACES = ("default", "shop")
CREATED = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
HOSTS = (
    "service-0",
    "service-1",
    "service-2.shop.svc.cluster.local",
    "service-0.default",
    "outside.example.com",
    "*.default.svc.cluster.local",
    "*.example.com",
    "*",
)


def build_object(kind: str, name: str, spec: dict[str, Any], draw: st.DrawFn) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": draw(st.sampled_from(NAMESPACES)),
        "creationTimestamp": draw(st.sampled_from(CREATED)),
    }
    if kind in {"VirtualService", "DestinationRule", "ServiceEntry"}:
        spec = spec | {"exportTo": draw(st.sampled_from(([], ["."], ["*"], ["shop"])))}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


@st.composite
def destinations(draw: st.DrawFn) -> dict[str, Any]:
    destination: dict[str, Any] = {"host": draw(st.sampled_from(HOSTS[:5]))}
    if draw(st.booleans()):
        destination["port"] = {"number": draw(st.integers(80, 84))}
    if draw(st.booleans()):
        destination["subset"] = draw(st.sampled_from(("v1", "missing")))
    return {"destination": destination, "weight": draw(st.integers(0, 2))}


@st.composite
def http_routes(draw: st.DrawFn) -> dict[str, Any]:
    route: dict[str, Any] = {"route": draw(st.lists(destinations(), min_size=1, max_size=2))}
    match: dict[str, Any] = {}
    if draw(st.booleans()):
        match["uri"] = draw(st.sampled_from(({"prefix": "/"}, {"exact": "/a"}, {"regex": ".*"})))
    if draw(st.booleans()):
        match["headers"] = {"b": {"exact": "1"}, "a": {}}
    if draw(st.booleans()):
        match["port"] = draw(st.integers(80, 84))
    if draw(st.booleans()):
        match["sourceLabels"] = {"app": f"app-{draw(st.integers(0, 2))}"}
    return route | ({"match": [match]} if match else {})


@st.composite
def virtual_services(draw: st.DrawFn, number: int) -> dict[str, Any]:
    spec = {
        "hosts": draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True)),
        "gateways": draw(st.sampled_from(([], ["mesh"], ["mesh", "default/edge"], ["default/edge"]))),
        "http": draw(st.lists(http_routes(), max_size=3)),
        "tcp": [{"route": draw(st.lists(destinations(), min_size=1, max_size=2))}] if draw(st.booleans()) else [],
        "tls": [{"match": [{"sniHosts": ["outside.example.com"]}], "route": [draw(destinations())]}],
    }
    return build_object("VirtualService", f"routes-{number}", spec, draw)


@st.composite
def destination_rules(draw: st.DrawFn, number: int) -> dict[str, Any]:
    balancers = ({"simple": "RANDOM"}, {"simple": "PASSTHROUGH"}, {"consistentHash": {"useSourceIp": True}})
    policy = {"loadBalancer": draw(st.sampled_from(balancers))}
    if draw(st.booleans()):
        policy["tls"] = {"mode": draw(st.sampled_from(("DISABLE", "SIMPLE", "ISTIO_MUTUAL")))}
    spec = {
        "host": draw(st.sampled_from(HOSTS)),
        "trafficPolicy": policy,
        "subsets": [{"name": "v1", "labels": {"app": "app-1"}}] if draw(st.booleans()) else [],
    }
    return build_object("DestinationRule", f"rule-{number}", spec, draw)


@st.composite
def service_entries(draw: st.DrawFn, number: int) -> dict[str, Any]:
    protocols = st.sampled_from(("HTTP", "TCP", "TLS", "HTTPS", ""))
    ports = {port: draw(protocols) for port in draw(st.lists(st.integers(80, 84), min_size=1, max_size=3))}
    spec = {
        "hosts": draw(
            st.lists(st.sampled_from((*HOSTS[4:5], "other.example.com", "service-0.default")), min_size=1, unique=True)
        ),
        "addresses": draw(st.sampled_from(([], ["10.96.0.1"], ["10.97.0.0/16"]))),
        "ports": [{"number": port, "name": f"p{port}", "protocol": protocol} for port, protocol in ports.items()],
        "resolution": draw(st.sampled_from(("NONE", "STATIC", "DNS"))),
        "location": draw(st.sampled_from(("MESH_EXTERNAL", "MESH_INTERNAL"))),
    }
    if spec["resolution"] == "STATIC":
        spec["endpoints"] = [{"address": "10.1.0.1", "labels": {"app": "app-1"}}]
    return build_object("ServiceEntry", f"entry-{number}", spec, draw)


@st.composite
def gateways(draw: st.DrawFn, number: int) -> dict[str, Any]:
    servers = []
    for place in range(draw(st.integers(1, 3))):
        protocol = draw(st.sampled_from(("HTTP", "HTTPS", "TLS", "TCP")))
        port = {"number": draw(st.sampled_from((80, 443))), "name": f"port-{place}", "protocol": protocol}
        hosts = draw(st.lists(st.sampled_from(("*", "*.example.com", "./outside.example.com")), min_size=1, max_size=2))
        tls = {"mode": draw(st.sampled_from(("SIMPLE", "PASSTHROUGH", "ISTIO_MUTUAL"))), "credentialName": "secret"}
        servers.append({"port": port, "hosts": hosts} | ({"tls": tls} if protocol in {"HTTPS", "TLS"} else {}))
    document = build_object("Gateway", "edge" if number == 0 else f"edge-{number}", {"servers": servers}, draw)
    document["spec"]["selector"] = draw(st.sampled_from(({}, {"app": "app-0"})))
    return document


@st.composite
def routing_objects(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return up to a dozen objects."""
    found: list[dict[str, Any]] = []
    for strategy in (virtual_services, destination_rules, service_entries, gateways):
        found += [draw(strategy(number)) for number in range(draw(st.integers(0, 3)))]
    return found
