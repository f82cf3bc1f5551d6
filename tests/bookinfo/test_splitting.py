"""Weights hold, and neither a change of routes nor a rolling restart loses a request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.conftest import Mesh, poll

from .conftest import HELLO, Gateway, Scene, deployment, gateway, istio, open_scene, service, split

REQUESTS = 2000
MOST = 20_000


def assert_split(answers: Counter[str], share: float) -> None:
    """All answered, and version v2 by its share within five sigma."""
    total = sum(answers.values())
    by_version = {
        version: sum(n for text, n in answers.items() if f"version: {version}" in text) for version in ["v1", "v2"]
    }
    assert sum(by_version.values()) == total == REQUESTS, answers
    sigma = math.sqrt(total * share * (1 - share))
    assert abs(by_version["v2"] - total * share) < 5 * sigma, by_version


def test_ninety_of_a_hundred_requests_from_a_sidecar_and_through_the_gateway(hello: Scene, ingress: Gateway) -> None:
    host = f"{hello.namespace}.example.com"
    hello.apply(
        gateway("hello", host),
        istio("VirtualService", "hello", hosts=["hello", host], gateways=["mesh", "hello"], http=split(v1=90, v2=10)),
    )
    poll(lambda: ingress.ask("/hello", host=host)[0] == 200)
    assert_split(ingress.load(host, "/hello", REQUESTS), 0.1)
    assert_split(hello.load("hello", "/hello", REQUESTS), 0.1)


def test_a_change_of_routes_under_load_loses_no_request(hello: Scene, ingress: Gateway) -> None:
    host = f"{hello.namespace}.example.com"
    route = istio("VirtualService", "hello", hosts=["hello", host], gateways=["mesh", "hello"], http=split(v1=100))
    hello.apply(gateway("hello", host), route)
    poll(lambda: ingress.ask("/hello", host=host)[0] == 200)
    with ThreadPoolExecutor() as pool:
        outside = pool.submit(ingress.load, host, "/hello", 2000, 200)
        inside = pool.submit(hello.load, "hello", "/hello", 2000, 200)
        for step in range(20):
            hello.apply({**route, "spec": {**route["spec"], "http": split(v1=100 - 5 * step, v2=5 * step)}})
        for answers in (outside.result(), inside.result()):
            assert sum(answers.values()) == 2000
            assert all(text.startswith("200 Hello") for text in answers), answers


@pytest.fixture(scope="module")
def rolling(mesh: Mesh, ingress: Gateway) -> Iterator[Scene]:
    """Three replicas of hello behind the gateway."""
    with open_scene(mesh, "rolling") as scene:
        host = f"{scene.namespace}.example.com"
        scene.apply(
            service("hello"),
            deployment("hello", "v1", f"{HELLO}-v1", replicas=3),
            deployment("client", "v1", "curlimages/curl"),
            gateway("hello", host),
            istio(
                "VirtualService",
                "hello",
                hosts=[host],
                gateways=["hello"],
                http=[{"route": [{"destination": {"host": "hello"}}]}],
            ),
        )
        scene.wait()
        poll(lambda: ingress.ask("/hello", host=host)[0] == 200 and scene.status("http://hello/hello") == 200)
        yield scene


@pytest.mark.parametrize("count", range(5))
def test_a_rolling_restart_of_three_replicas_loses_no_request(
    rolling: Scene, ingress: Gateway, tmp_path: Path, count: int
) -> None:
    host, over = f"{rolling.namespace}.example.com", f"/tmp/over-{count}"
    with ThreadPoolExecutor() as pool:
        outside = pool.submit(ingress.load, host, "/hello", MOST, 200, tmp_path / "over")
        inside = pool.submit(rolling.load, "hello", "/hello", MOST, 200, over)
        rolling.kubectl("rollout", "restart", "deploy/hello-v1")
        rolling.kubectl("rollout", "status", "deploy/hello-v1", "--timeout=60s")
        poll(lambda: len(rolling.kubectl("get", "pods", "-l", "app=hello", "-o", "name").splitlines()) == 3)
        (tmp_path / "over").touch()
        rolling.kubectl("exec", "deploy/client", "--", "touch", over)
        for answers in (outside.result(), inside.result()):
            assert set(answers) == {"200 Hello version: v1,"}, answers


def test_a_restart_of_the_gateway_loses_no_request(rolling: Scene, ingress: Gateway, tmp_path: Path) -> None:
    host, deploy = f"{rolling.namespace}.example.com", ("deploy/istio-ingressgateway", "-n", "istio-system")
    with ThreadPoolExecutor() as pool:
        outside = pool.submit(ingress.load, host, "/hello", MOST, 200, tmp_path / "over")
        rolling.kubectl("rollout", "restart", *deploy)
        rolling.kubectl("rollout", "status", *deploy, "--timeout=60s")
        gateways = ("get", "pods", "-n", "istio-system", "-l", "istio=ingressgateway", "-o", "name")
        poll(lambda: len(rolling.kubectl(*gateways).splitlines()) == 1)
        (tmp_path / "over").touch()
        assert set(outside.result()) == {"200 Hello version: v1,"}, outside.result()
