"""One running mesh for the whole session, real kubectl, and a namespace for each test."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.cluster.state import Running, StateDir, find_running

LATEEN = [sys.executable, "-m", "lateen.cli.main"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a mesh."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.mesh)


def poll(attempt: Callable[[], Any], *, until: Callable[[Any], bool] = bool, seconds: float = 30.0) -> Any:
    """Repeat an attempt until its result is good; the last result is in the failure."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if until(result):
            return result
        assert time.monotonic() < deadline, f"still {result!r} after {seconds} s"
        time.sleep(0.05)


class Mesh:
    """A cluster that `lateen up` runs, and commands that use it."""

    def __init__(self, path: Path) -> None:
        self.state = StateDir(path)
        self.command = LATEEN
        self.environment = {**os.environ, "KUBECONFIG": str(self.state.kubeconfig), "LATEEN_STATE": str(path)}
        self.environment["KUBECACHEDIR"] = str(path / "kubectl-cache")
        self.kubectl_path = shutil.which("kubectl")

    def up(self) -> None:
        """Start it in the background and wait until it is ready."""
        self.lateen("up", "-d", "--ports", "auto")

    def down(self) -> None:
        """Stop it."""
        self.lateen("down")

    @property
    def running(self) -> Running:
        """Pid and ports of the daemon."""
        running = find_running(self.state)
        assert running is not None, "the daemon is gone"
        return running

    def lateen(self, *arguments: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the `lateen` command."""
        return self._run([*LATEEN, *arguments], check=check, stdin=stdin)

    def kubectl(self, *arguments: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the real kubectl."""
        if self.kubectl_path is None:
            pytest.skip("needs kubectl >= 1.31 in PATH")
        return self._run([self.kubectl_path, *arguments], check=check, stdin=stdin)

    def _run(self, command: list[str], *, check: bool, stdin: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        if check:
            assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def apply(self, *documents: dict[str, Any], namespace: str = "") -> None:
        """Apply objects with kubectl."""
        scope = ["-n", namespace] if namespace else []
        self.kubectl(*scope, "apply", "-f", "-", stdin=yaml.safe_dump_all(documents))

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """An object as JSON, or None."""
        scope = ["-n", namespace] if namespace else []
        done = self.kubectl(*scope, "get", kind, name, "-o", "json", check=False)
        found: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
        return found

    def get_all(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """All objects of a kind in a namespace, as JSON."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("-n", namespace, "get", kind, "-o", "json").stdout)[
            "items"
        ]
        return found

    def wait_ready(self, namespace: str, *pods: str, seconds: float = 40.0) -> None:
        """Wait until pods have condition Ready."""
        names = [f"pod/{pod}" for pod in pods] or ["pod", "--all"]
        done = self.kubectl(
            "-n", namespace, "wait", "--for=condition=Ready", *names, f"--timeout={seconds:.0f}s", check=False
        )
        if done.returncode:
            state = self.kubectl("-n", namespace, "get", "pods,events", "-o", "wide", check=False).stdout
            raise AssertionError(f"{done.stderr}\n{state}")

    def exec(
        self, namespace: str, pod: str, *command: str, container: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container; exit status and output as kubectl gives them."""
        chosen = ["-c", container] if container else []
        return self.kubectl("-n", namespace, "exec", pod, *chosen, "--", *command, check=False)

    def curl(self, namespace: str, pod: str, *arguments: str, container: str | None = None) -> tuple[int, int, str]:
        """A request from inside a pod: curl's exit status, the HTTP status, the body."""
        done = self.exec(
            namespace,
            pod,
            "curl",
            "-s",
            "--max-time",
            "8",
            "-w",
            "\n%{http_code}",
            *arguments,
            container=container,
        )
        body, _, status = done.stdout.rpartition("\n")
        return done.returncode, int(status) if status.isdigit() else 0, body


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The mesh of the session."""
    running = Mesh(tmp_path_factory.mktemp("mesh"))
    running.up()
    yield running
    running.down()


@pytest.fixture
def namespace(mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, deleted afterwards."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    name = f"{words[-40:].strip('-')}-{os.urandom(2).hex()}"
    mesh.kubectl("create", "namespace", name)
    yield name
    mesh.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def shared_namespace(mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that the tests of one file share, for pods that they only look at."""
    name = f"{Path(request.node.name).stem.replace('_', '-')}-{os.urandom(2).hex()}"
    mesh.kubectl("create", "namespace", name)
    yield name
    mesh.kubectl("delete", "namespace", name, "--wait=false")


def pod(
    name: str,
    *,
    sidecar: bool,
    image: str = "lateen/sample-http",
    service_account: str = "default",
    command: list[str] | None = None,
    annotations: dict[str, str] | None = None,
    **container: Any,
) -> dict[str, Any]:
    """A Pod with one app container, and with the mesh's containers where asked for."""
    app = {"name": "app", "image": image, **({"command": command} if command else {}), **container}
    proxies = [
        {"name": "istio-init", "image": "istio/proxyv2:1.28.0"},
        {"name": "istio-proxy", "image": "istio/proxyv2:1.28.0", "restartPolicy": "Always"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": annotations or {}},
        "spec": {
            "serviceAccountName": service_account,
            "terminationGracePeriodSeconds": 1,
            **({"initContainers": proxies} if sidecar else {}),
            "containers": [app],
        },
    }


def service(name: str, port: int = 80, target: int = 8080, port_name: str = "http") -> dict[str, Any]:
    """A Service that selects `app: name`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": port_name, "port": port, "targetPort": target}],
        },
    }


def service_account(name: str) -> dict[str, Any]:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def peer_authentication(mode: str, app: str = "") -> dict[str, Any]:
    """A PeerAuthentication for the namespace, or for the pods of one app."""
    spec: dict[str, Any] = {"mtls": {"mode": mode}}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": app or "default"},
        "spec": spec,
    }
