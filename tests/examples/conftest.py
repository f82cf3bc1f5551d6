"""The mesh of the examples, and the shop in a namespace of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Mesh, poll
from e2e.conftest import mesh as mesh
from e2e.conftest import namespace as namespace

EXAMPLES = Path(__file__).parents[2] / "examples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a mesh."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.mesh)


class Shop:
    """A running shop, and what its README does with it."""

    def __init__(self, mesh: Mesh, namespace: str) -> None:
        self.mesh, self.namespace = mesh, namespace

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """The output of kubectl in the shop's namespace."""
        return self.mesh.kubectl("-n", self.namespace, *arguments, check=check).stdout

    def apply(self, *names: str) -> None:
        """Apply files of the examples, and wait until all pods are ready."""
        files = [word for name in names for word in ("-f", str(EXAMPLES / name))]
        self.kubectl("apply", *files)
        self.wait()

    def wait(self) -> None:
        """Wait for every rollout."""
        for name in self.kubectl("get", "deployments", "-o", "name").split():
            self.kubectl("rollout", "status", name, "--timeout=60s")

    def curl(self, *arguments: str, pod: str = "deploy/frontend", container: str = "frontend") -> tuple[int, str]:
        """(HTTP status, body) of a request from inside a pod; status 0 without an answer."""
        done = self.mesh.exec(
            self.namespace, pod, "curl", "-s", "-m", "20", "-w", "\n%{http_code}", *arguments, container=container
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def buy(self, *arguments: str) -> tuple[int, Any]:
        """(HTTP status, answer) of a purchase."""
        status, body = self.curl("-X", "POST", *arguments, "http://api:8080/api/orders?product=1")
        return status, json.loads(body) if body.startswith("{") else body

    def charged_by(self, *arguments: str) -> str:
        """The version of payments that charges."""
        status, answer = self.buy(*arguments)
        assert status == 201, answer
        version: str = answer["payment"]["version"]
        return version

    def until(self, attempt: Callable[[], Any], condition: Callable[[Any], bool]) -> Any:
        """Repeat until it is so: configuration takes effect a moment after `apply`."""
        return poll(attempt, until=condition)


@pytest.fixture
def shop(mesh: Mesh, namespace: str) -> Iterator[Shop]:
    """The shop, ready."""
    mesh.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    running = Shop(mesh, namespace)
    running.apply("shop")
    yield running
