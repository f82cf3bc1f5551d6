"""Killed components come back; nothing acknowledged is lost and nothing is sent twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .conftest import Mesh, pod, poll, service


def pids_of(text: str) -> list[int]:
    """Processes whose command line contains a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in command:
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """A mesh of this module's own, because it gets killed."""
    mesh = Mesh(tmp_path_factory.mktemp("survival"))
    mesh.up()
    mesh.kubectl("create", "namespace", "s")
    mesh.apply(
        service("web"),
        pod("web", sidecar=True),
        pod("client", sidecar=True, image="lateen/sample-curl"),
        namespace="s",
    )
    mesh.wait_ready("s", "web", "client")
    return mesh


def test_discovery_dies_and_traffic_goes_on(own: Mesh) -> None:
    assert own.curl("s", "client", "http://web/", container="app")[:2] == (0, 200)
    (pid,) = pids_of(str(own.state.component_kubeconfig("discovery")))
    os.kill(pid, signal.SIGKILL)
    assert own.curl("s", "client", "http://web/", container="app")[:2] == (0, 200)
    poll(lambda: [p for p in pids_of(str(own.state.component_kubeconfig("discovery"))) if p != pid])
    own.apply(service("late"), pod("late", sidecar=True), namespace="s")
    own.wait_ready("s", "late")
    poll(
        lambda: own.curl("s", "client", "http://late/", container="app")[:2],
        until=lambda got: got == (0, 200),
    )


def test_everything_dies_and_comes_back_with_objects_and_pods(own: Mesh) -> None:
    own.kubectl("-n", "s", "create", "configmap", "kept", "--from-literal=a=b")
    os.kill(own.running.pid, signal.SIGKILL)
    poll(lambda: not pids_of(str(own.state.path)), seconds=10)
    own.up()
    assert own.get("configmap", "kept", "s") is not None
    own.wait_ready("s", "web", "client")
    poll(lambda: own.curl("s", "client", "http://web/", container="app")[:2], until=lambda got: got == (0, 200))


def test_down_leaves_nothing(own: Mesh) -> None:
    runtime = own.state.runtime
    own.down()
    assert pids_of(str(own.state.path)) == []
    assert not [path for path in runtime.rglob("*") if path.is_socket()] if runtime.exists() else True
    assert str(own.state.path) not in Path("/proc/self/mounts").read_text()
