"""Laws of simulation over our own configuration: total, equal for every form of the configuration, sums that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_case import Configuration as Told
from mesh_case import build_database, configure, list_proxies, load_documents
from test_translate_properties import CLIENT, GATEWAY, meshes

from lateen.envoy.messages import get_pool
from lateen.simulate.configuration import Configuration, build_configuration, read_configuration
from lateen.simulate.outcome import Failure
from lateen.simulate.request import Request
from lateen.simulate.simulation import simulate

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/in.yaml"))
HOSTS = ("service-0", "service-1.shop", "outside.example.com", "a.example.com:81", "10.96.0.1", "", "*")
ADDRESS = "10.244.0.1"
PATHS = ("/", "/a", "/api/v1?x=y", "/%zz", "//", "/a#b")


@st.composite
def requests(draw: st.DrawFn) -> Request:
    return Request(
        address=draw(st.sampled_from(("10.96.0.1", "10.96.0.2", "10.244.0.0", "10.244.0.1", "203.0.113.9", "fd00::1"))),
        port=draw(st.sampled_from((80, 81, 82, 443, 8080, 8081, 9999))),
        interception=draw(st.sampled_from(("none", "outbound", "inbound"))),
        protocol=draw(st.sampled_from(("http", "http2", "tcp"))),
        tls=draw(st.sampled_from(("plaintext", "tls", "mtls"))),
        sni=draw(st.sampled_from(("", "service-0", "outbound_.80_._.service-0.default.svc.cluster.local"))),
        alpn=draw(st.sampled_from(((), ("h2",), ("istio",), ("istio-http/1.1", "h2")))),
        host=draw(st.sampled_from(HOSTS)),
        path=draw(st.sampled_from(PATHS)),
        headers=draw(st.sampled_from(({}, {"end-user": ("jason",)}, {"x-a": ("1", "2")}))),
        sample=draw(st.sampled_from((None, 0.0, 0.5, 0.999))),
    )


def list_messages(told: Told) -> list[Any]:
    return [message for kind in vars(told).values() for message in kind.values()]


def dump(told: Told) -> dict[str, Any]:
    """The configuration in the form of Envoy's /config_dump, fields in snake case."""

    def write(message: Any) -> dict[str, Any]:
        return MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=get_pool())

    def section(name: str, items: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
        return {"@type": f"type.googleapis.com/envoy.admin.v3.{name}ConfigDump", items: entries}

    listeners = [{"name": name, "active_state": {"listener": write(one)}} for name, one in told.listeners.items()]
    return {
        "configs": [
            section("Listeners", "dynamic_listeners", listeners),
            section("Routes", "dynamic_route_configs", [{"route_config": write(one)} for one in told.routes.values()]),
            section("Clusters", "dynamic_active_clusters", [{"cluster": write(one)} for one in told.clusters.values()]),
            section(
                "Endpoints",
                "dynamic_endpoint_configs",
                [{"endpoint_config": write(one)} for one in told.endpoints.values()],
            ),
        ]
    }


def check(configuration: Configuration, request: Request) -> None:
    outcome = simulate(configuration, request)
    if outcome.failure in (Failure.NO_LISTENER, Failure.NO_FILTER_CHAIN, Failure.MANY_FILTER_CHAINS):
        assert not outcome.cluster
    if outcome.failure is None and not outcome.status and request.protocol == "tcp":
        assert outcome.cluster or outcome.clusters
    if outcome.cluster and outcome.failure is None:
        assert outcome.cluster in configuration.clusters
        assert outcome.endpoints
    if outcome.clusters:
        assert sum(one.share for one in outcome.clusters) == pytest.approx(1)
        assert (outcome.cluster == "") is (request.sample is None)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(meshes(), st.lists(requests(), min_size=4, max_size=12), st.sampled_from((CLIENT, GATEWAY)))
def test_any_request_in_any_mesh_has_an_outcome(
    documents: list[dict[str, Any]], wanted: list[Request], proxy: Any
) -> None:
    configuration = build_configuration(list_messages(configure(build_database(documents), proxy)))
    for request in wanted:
        check(configuration, request)


def sweep(configuration: Configuration, address: str) -> list[Request]:
    """A request for every listener, host and first path that a configuration names."""
    hosts = [
        (str(domain), port)
        for routes in configuration.routes.values()
        for virtual_host in routes.get("virtualHosts", ())
        for domain in virtual_host["domains"][:2]
        for port in (80, 443, 8080, 9080)
    ]
    outbound = [
        Request(address="10.96.0.1", port=port, interception="outbound", host=host, sample=0.1) for host, port in hosts
    ]
    inbound = [
        Request(address=address, port=port, interception="inbound", tls=tls, alpn=alpn, host="x")  # type: ignore[arg-type]
        for port in (80, 8080, 9080, 9999)
        for tls, alpn in (("plaintext", ()), ("mtls", ("istio-http/1.1", "istio")), ("tls", ("h2",)))
    ]
    return outbound + inbound


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dump_says_the_same_as_the_messages(case: Path) -> None:
    documents = load_documents((case / "in.yaml").read_text())
    database = build_database(documents)
    for proxy in list_proxies(documents):
        told = configure(database, proxy)
        by_messages, by_dump = build_configuration(list_messages(told)), read_configuration(dump(told))
        by_lists = read_configuration(told.build_document())
        for request in sweep(by_messages, ADDRESS):
            outcome = simulate(by_messages, request)
            for other in (by_dump, by_lists):
                found = simulate(other, request)
                assert (found.cluster, found.failure, found.endpoints) == (
                    outcome.cluster,
                    outcome.failure,
                    outcome.endpoints,
                )
                assert (found.timeout, found.retry, found.path) == (outcome.timeout, outcome.retry, outcome.path)
