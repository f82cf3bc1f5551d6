"""The other samples of Istio's documentation, unmodified: httpbin, sleep, curl, helloworld, tcp-echo, fortio."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

from e2e.conftest import poll

from .conftest import Gateway, Scene, deployment, gateway, istio, service, subsets

GUNICORN = ["gunicorn", "--access-logfile", "-", "-b", "0.0.0.0:80", "httpbin:app"]


def route(host: str, subset: str = "", **more: Any) -> list[dict[str, Any]]:
    """One http route to one destination."""
    return [{"route": [{"destination": {"host": host, **({"subset": subset} if subset else {})}}], **more}]


def test_httpbin_from_sleep_and_curl_and_through_the_gateway(scene: Scene, ingress: Gateway, samples: Path) -> None:
    scene.apply(*(samples / each / f"{each}.yaml" for each in ("httpbin", "sleep", "curl")))
    scene.wait()
    for client in ("sleep", "curl"):
        poll(lambda: scene.status("http://httpbin:8000/get", client=client) == 200)  # noqa: B023
        assert scene.status("http://httpbin:8000/status/418", client=client) == 418
        assert f"spiffe://cluster.local/ns/{scene.namespace}/sa/{client}" in scene.curl(
            "http://httpbin:8000/headers", client=client
        )
    host = f"httpbin.{scene.namespace}"
    scene.apply(gateway("httpbin", host))
    matched = [{**route("httpbin")[0], "match": [{"uri": {"prefix": "/status"}}, {"uri": {"prefix": "/delay"}}]}]
    scene.apply(istio("VirtualService", "httpbin", hosts=[host], gateways=["httpbin"], http=matched))
    poll(lambda: ingress.ask("/status/200", host=host)[0] == 200)
    assert ingress.ask("/headers", host=host)[0] == 404


def test_helloworld_behind_its_own_gateway(scene: Scene, ingress: Gateway, samples: Path) -> None:
    scene.apply(samples / "helloworld" / "helloworld.yaml", samples / "helloworld" / "helloworld-gateway.yaml")
    scene.wait()
    poll(lambda: ingress.ask("/hello")[0] == 200)
    text = "".join(ingress.ask("/hello")[1] for _ in range(40))
    assert set(re.findall(r"Hello version: (v\d), instance: helloworld-v\d", text)) == {"v1", "v2"}


def ask_tcp(port: int) -> str:
    """The first word that a TCP server answers with, empty if none does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"world\n")
            return connection.recv(100).decode().partition(" ")[0]
    except OSError:
        return ""


def test_tcp_connections_shift_from_one_version_to_the_other(scene: Scene, samples: Path) -> None:
    port = {"name": "tcp", "port": 31400, "targetPort": 31400, "protocol": "TCP"}
    patch = json.dumps([{"op": "add", "path": "/spec/ports/-", "value": port}])
    service = ("service", "istio-ingressgateway", "-n", "istio-system")
    scene.kubectl("patch", *service, "--type=json", "-p", patch)
    path = '{.spec.ports[?(@.name=="tcp")].nodePort}'
    host_port = int(scene.kubectl("get", *service, "-o", f"jsonpath={path}"))
    scene.apply(samples / "tcp-echo" / "tcp-echo-services.yaml", samples / "tcp-echo" / "tcp-echo-all-v1.yaml")
    scene.wait()
    poll(lambda: ask_tcp(host_port) == "one")
    assert {ask_tcp(host_port) for _ in range(20)} == {"one"}
    scene.apply(samples / "tcp-echo" / "tcp-echo-20-v2.yaml")
    poll(lambda: ask_tcp(host_port) == "two")
    words = [ask_tcp(host_port) for _ in range(400)]
    assert set(words) == {"one", "two"}
    assert abs(words.count("two") - 80) < 5 * 8


def test_mirrored_requests_reach_the_other_version_and_nobody_waits_for_them(scene: Scene) -> None:
    versions = [deployment("httpbin", version, "docker.io/kennethreitz/httpbin") for version in ("v1", "v2")]
    for version in versions:
        version["spec"]["template"]["spec"]["containers"][0]["command"] = GUNICORN
    scene.apply(
        service("httpbin", 80),
        *versions,
        deployment("client", "v1", "curlimages/curl"),
        subsets("httpbin", "v1", "v2"),
        istio("VirtualService", "httpbin", hosts=["httpbin"], http=route("httpbin", "v1")),
    )
    scene.wait()

    def lines(version: str, path: str) -> int:
        return scene.kubectl("logs", f"deploy/httpbin-{version}", "-c", "app").count(path)

    poll(lambda: scene.status("http://httpbin/get?before") == 200 and lines("v1", "/get?before") > 0)
    assert lines("v2", "/get?before") == 0
    mirror = {"mirror": {"host": "httpbin", "subset": "v2"}, "mirrorPercentage": {"value": 100.0}}
    scene.apply(istio("VirtualService", "httpbin", hosts=["httpbin"], http=route("httpbin", "v1", **mirror)))
    poll(lambda: scene.status("http://httpbin/get?after") == 200 and lines("v2", "/get?after") > 0)
    assert lines("v1", "/get?after") > 0
    answered = scene.curl("http://httpbin/headers")
    assert "-shadow" not in answered


def test_fortio_counts_what_a_service_answers(scene: Scene, samples: Path) -> None:
    scene.apply(samples / "httpbin" / "httpbin.yaml", samples / "httpbin" / "sample-client" / "fortio-deploy.yaml")
    scene.wait()
    words = ("fortio", "load", "-c", "2", "-qps", "0", "-n", "20", "-loglevel", "Warning", "http://httpbin:8000/get")
    poll(
        lambda: "Code 200 : 20 (100.0 %)" in scene.kubectl("exec", "deploy/fortio-deploy", "-c", "fortio", "--", *words)
    )
