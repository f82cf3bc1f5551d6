"""A mesh with Bookinfo in namespace default, and the ways in: the gateway's host port, and a client's sidecar."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.conftest import Mesh, poll

from .load import send_requests

LOAD = Path(__file__).with_name("load.py")
HELLO = "docker.io/istio/examples-helloworld"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a mesh."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.mesh)


class Gateway:
    """The ingress gateway as the host sees it."""

    def __init__(self, mesh: Mesh) -> None:
        path = '{.spec.ports[?(@.name=="http2")].nodePort}'
        self.port = int(
            mesh.kubectl("-n", "istio-system", "get", "svc", "istio-ingressgateway", "-o", f"jsonpath={path}").stdout
        )

    def ask(self, path: str, *arguments: str, host: str = "example.com") -> tuple[int, str, float]:
        """Status, body and seconds of one request; further arguments are curl's."""
        command = ["curl", "-s", "--max-time", "20", "-w", "\n%{http_code} %{time_total}", "-H", f"Host: {host}"]
        done = subprocess.run(
            [*command, *arguments, f"http://127.0.0.1:{self.port}{path}"], capture_output=True, text=True, check=False
        )
        body, _, last = done.stdout.rpartition("\n")
        status, seconds = last.split()
        return int(status), body, float(seconds)

    def load(self, host: str, path: str, count: int, rate: float = 0, until: Path | None = None) -> Counter[str]:
        """Many requests, by answer."""
        return send_requests("127.0.0.1", self.port, host, path, count, rate, until)


class Scene:
    """One namespace of the mesh."""

    def __init__(self, mesh: Mesh, namespace: str) -> None:
        self.mesh, self.namespace = mesh, namespace

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints."""
        return self.mesh.kubectl("-n", self.namespace, *arguments, stdin=stdin).stdout

    def apply(self, *sources: Path | dict[str, Any]) -> None:
        """Apply files and objects."""
        files = [source for source in sources if isinstance(source, Path)]
        objects = [source for source in sources if not isinstance(source, Path)]
        if files:
            self.kubectl("apply", *(word for file in files for word in ("-f", str(file))))
        if objects:
            self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def wait(self) -> None:
        """Wait until every Deployment is available."""
        done = self.mesh.kubectl(
            *("-n", self.namespace, "wait", "--for=condition=Available", "deploy", "--all", "--timeout=90s"),
            check=False,
        )
        assert done.returncode == 0, done.stderr + self.kubectl("get", "pods,events")

    def curl(self, *arguments: str, client: str = "client") -> str:
        """What curl prints in the client's pod."""
        return self.kubectl("exec", f"deploy/{client}", "--", "curl", "-sS", *arguments)

    def status(self, url: str, *arguments: str, client: str = "client") -> int:
        """The status that the client gets."""
        return int(self.curl("-o", "/dev/null", "-w", "%{http_code}", *arguments, url, client=client))

    def load(self, host: str, path: str, count: int, rate: float = 0, until: str = "") -> Counter[str]:
        """Many requests from the client's pod, by answer; `until` is a file of the client's."""
        words = ["80", host, path, str(count), str(rate), *([until] if until else [])]
        done = self.kubectl("exec", "-i", "deploy/client", "--", "python3", "-", *words, stdin=LOAD.read_text())
        return Counter(json.loads(done))


def deployment(app: str, version: str, image: str, *, replicas: int = 1) -> dict[str, Any]:
    """A Deployment APP-VERSION of pods labelled app and version."""
    labels = {"app": app, "version": version}
    container: dict[str, Any] = {"name": "app", "image": image}
    if image.startswith(HELLO):
        container["readinessProbe"] = {"httpGet": {"path": "/health", "port": 5000}, "periodSeconds": 1}
    name = app if app == "client" else f"{app}-{version}"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def service(name: str, target: int = 5000) -> dict[str, Any]:
    """A Service with one HTTP port, 80."""
    ports = [{"name": "http", "port": 80, "targetPort": target}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def istio(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """An object of networking.istio.io."""
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def gateway(name: str, *hosts: str) -> dict[str, Any]:
    """A Gateway with one HTTP server on port 80."""
    servers = [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": list(hosts)}]
    return istio("Gateway", name, selector={"istio": "ingressgateway"}, servers=servers)


def split(**weights: int) -> list[dict[str, Any]]:
    """One http route that splits between subsets of host hello."""
    return [
        {
            "route": [
                {"destination": {"host": "hello", "subset": name}, "weight": part} for name, part in weights.items()
            ]
        }
    ]


def subsets(host: str, *versions: str) -> dict[str, Any]:
    """A DestinationRule with a subset for each version."""
    named = [{"name": version, "labels": {"version": version}} for version in versions]
    return istio("DestinationRule", host, host=host, subsets=named)


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The mesh of this folder's tests."""
    running = Mesh(tmp_path_factory.mktemp("bookinfo"))
    running.up()
    yield running
    running.down()


@pytest.fixture(scope="package")
def ingress(mesh: Mesh) -> Gateway:
    """The ingress gateway, ready."""
    mesh.kubectl("-n", "istio-system", "rollout", "status", "deploy/istio-ingressgateway", "--timeout=60s")
    return Gateway(mesh)


@pytest.fixture(scope="package")
def samples(shared: Path) -> Path:
    """Istio's samples."""
    return shared / "samples"


@contextmanager
def open_scene(mesh: Mesh, title: str) -> Iterator[Scene]:
    """A namespace with injection, for a while."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    name = f"{words[-40:].strip('-')}-{os.urandom(2).hex()}"
    mesh.kubectl("create", "namespace", name)
    mesh.kubectl("label", "namespace", name, "istio-injection=enabled")
    yield Scene(mesh, name)
    mesh.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def scene(mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A namespace of the test's own, with injection."""
    with open_scene(mesh, request.node.name) as scene:
        yield scene


@pytest.fixture
def hello(scene: Scene) -> Scene:
    """Service hello in two versions, a client with curl, and subsets."""
    scene.apply(
        service("hello"),
        deployment("hello", "v1", f"{HELLO}-v1"),
        deployment("hello", "v2", f"{HELLO}-v2"),
        deployment("client", "v1", "curlimages/curl"),
        subsets("hello", "v1", "v2"),
    )
    scene.wait()
    poll(lambda: scene.status("http://hello/hello") == 200)
    return scene
