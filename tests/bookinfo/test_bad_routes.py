"""Configuration that makes no sense answers as Istio's does, and leaves everything else alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.conftest import Mesh, poll

from .conftest import HELLO, Gateway, Scene, deployment, gateway, istio, open_scene, service

GOOD, EMPTY, NO_SUBSET, NO_SERVICE = (
    {"host": "hello"},
    {"host": "empty"},
    {"host": "hello", "subset": "nowhere"},
    {"host": "nowhere"},
)


@pytest.fixture(scope="module")
def scene(mesh: Mesh, ingress: Gateway) -> Iterator[Scene]:
    """Service hello, a Service without pods, and one good host at the gateway for *.NAMESPACE."""
    with open_scene(mesh, "bad-routes") as opened:
        opened.apply(
            service("hello"),
            service("empty"),
            deployment("hello", "v1", f"{HELLO}-v1"),
            deployment("client", "v1", "curlimages/curl"),
            gateway("all", f"*.{opened.namespace}"),
            virtual_service(opened, "good", destinations(GOOD)),
        )
        opened.wait()
        poll(lambda: ingress.ask("/hello", host=f"good.{opened.namespace}")[0] == 200)
        yield opened


def destinations(*hosts: dict[str, Any], weights: tuple[int, ...] = ()) -> dict[str, Any]:
    """An http route to destinations."""
    parts = [{"destination": host, **({"weight": weights[at]} if weights else {})} for at, host in enumerate(hosts)]
    return {"route": parts}


def virtual_service(scene: Scene, name: str, *http: dict[str, Any], host: str = "", via: str = "all") -> dict[str, Any]:
    """A VirtualService of the gateway for NAME.NAMESPACE."""
    return istio("VirtualService", name, hosts=[host or f"{name}.{scene.namespace}"], gateways=[via], http=list(http))


@pytest.mark.parametrize(
    ("name", "route", "status", "text"),
    [
        pytest.param("subset", destinations(NO_SUBSET), 503, "", id="a subset that nobody defines: NC"),
        pytest.param("service", destinations(NO_SERVICE), 503, "", id="a host that is no service: NC"),
        pytest.param("empty", destinations(EMPTY), 503, "no healthy upstream", id="a service without endpoints: UH"),
        pytest.param("zero", destinations(GOOD, EMPTY, weights=(0, 0)), 503, "", id="only weights of nothing"),
        pytest.param(
            "port", destinations({"host": "hello", "port": {"number": 99}}), 503, "", id="a port that is none: NC"
        ),
    ],
)
def test_a_route_that_leads_nowhere(
    scene: Scene, ingress: Gateway, name: str, route: dict[str, Any], status: int, text: str
) -> None:
    scene.apply(virtual_service(scene, name, route))
    found = poll(lambda: ingress.ask("/hello", host=f"{name}.{scene.namespace}"), until=lambda answer: answer[0] != 404)
    assert found[:2] == (status, text)
    assert ingress.ask("/hello", host=f"good.{scene.namespace}")[0] == 200


def test_weights_that_do_not_add_up_to_a_hundred_are_shares(scene: Scene, ingress: Gateway) -> None:
    scene.apply(virtual_service(scene, "shares", destinations(GOOD, EMPTY, weights=(3, 1))))
    host = f"shares.{scene.namespace}"
    poll(lambda: ingress.ask("/hello", host=host)[0] != 404)
    answers = ingress.load(host, "/hello", 400)
    served = sum(count for text, count in answers.items() if text.startswith("200"))
    assert 400 * 0.75 - 5 * 8.7 < served < 400 * 0.75 + 5 * 8.7, answers


def test_a_host_that_no_virtual_service_of_the_gateway_has(scene: Scene, ingress: Gateway) -> None:
    assert ingress.ask("/hello", host=f"nobody.{scene.namespace}")[:2] == (404, "")
    assert ingress.ask("/hello", host="elsewhere.example.com")[:2] == (404, "")


def test_a_virtual_service_of_a_gateway_that_does_not_exist(scene: Scene, ingress: Gateway) -> None:
    scene.apply(virtual_service(scene, "lost", destinations(GOOD), via="nowhere"))
    scene.apply(virtual_service(scene, "found", destinations(GOOD)))
    poll(lambda: ingress.ask("/hello", host=f"found.{scene.namespace}")[0] == 200)
    assert ingress.ask("/hello", host=f"lost.{scene.namespace}")[0] == 404


def test_a_virtual_service_of_a_host_that_its_gateway_does_not_serve(scene: Scene, ingress: Gateway) -> None:
    scene.apply(virtual_service(scene, "beyond", destinations(GOOD), host="beyond.example.com"))
    scene.apply(virtual_service(scene, "within", destinations(GOOD)))
    poll(lambda: ingress.ask("/hello", host=f"within.{scene.namespace}")[0] == 200)
    assert ingress.ask("/hello", host="beyond.example.com")[0] == 404


def answer(path: str, status: int) -> dict[str, Any]:
    return {"match": [{"uri": {"prefix": path}}], "directResponse": {"status": status}}


def test_a_gateway_merges_two_virtual_services_of_one_host(scene: Scene, ingress: Gateway) -> None:
    host = f"twice.{scene.namespace}"
    scene.apply(virtual_service(scene, "twice-a", answer("/a", 201), host=host))
    scene.apply(virtual_service(scene, "twice-b", answer("/b", 202), host=host))
    poll(lambda: ingress.ask("/b", host=host)[0] == 202)
    assert [ingress.ask(path, host=host)[0] for path in ("/a", "/b", "/c")] == [201, 202, 404]


def test_a_sidecar_takes_the_older_of_two_virtual_services_of_one_host(scene: Scene) -> None:
    scene.apply(istio("VirtualService", "older", hosts=["empty"], http=[answer("/a", 201)]))
    poll(lambda: scene.status("http://empty/a") == 201)
    created = scene.kubectl("get", "virtualservice", "older", "-o", "jsonpath={.metadata.creationTimestamp}")
    poll(lambda: scene.kubectl("exec", "deploy/client", "--", "date", "-u", "+%FT%TZ").strip() > created)
    scene.apply(istio("VirtualService", "newer", hosts=["empty"], http=[answer("/b", 202)]))
    scene.apply(istio("VirtualService", "later", hosts=["hello"], http=[answer("/later", 204), destinations(GOOD)]))
    poll(lambda: scene.status("http://hello/later") == 204)
    assert [scene.status(f"http://empty{path}") for path in ("/a", "/b")] == [201, 404]


def test_a_service_without_endpoints_from_a_sidecar(scene: Scene) -> None:
    scene.apply(service("vacant"))
    body = poll(lambda: scene.curl("http://vacant/"), until=lambda text: "upstream" in text)
    assert body == "no healthy upstream"
    assert scene.status("http://vacant/") == 503
    assert scene.status("http://hello/hello") == 200
