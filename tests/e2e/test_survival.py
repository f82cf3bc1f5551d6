"""Killed components come back: nothing acknowledged is lost, nothing breaks meanwhile, nothing is sent twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import Mesh, peer_authentication, pod, poll, service
from .processes import descendants, namespaces_of, orphans_in, pids_of

NAMESPACE = "s"
ECHO = ["python3", "-S", "-m", "lateen.samples.tcp_echo", "9000", "echo"]
# For each line of input: through a TCP and an HTTP connection that were opened once, and through new ones.
HOLD = """
import http.client, socket, sys
def dial(): return socket.create_connection(("echo", 9000), 10)
def say(connection, word):
    connection.sendall(word.encode() + b"\\n")
    return connection.recv(1000).decode().strip()
def get(connection):
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    return answer.status
stream, web = dial(), http.client.HTTPConnection("web", timeout=10)
web.connect()
opened = web.sock
print("open", flush=True)
for line in sys.stdin:
    with dial() as fresh:
        again = say(fresh, line.strip())
    print(say(stream, line.strip()), get(web), web.sock is opened, again, get(http.client.HTTPConnection("web", timeout=10)), flush=True)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh of this module's own, because it gets killed."""
    mesh = Mesh(tmp_path_factory.mktemp("survival"))
    mesh.up()
    mesh.kubectl("create", "namespace", NAMESPACE)
    mesh.apply(
        service("web"),
        pod("web", sidecar=True),
        service("echo", 9000, 9000, "tcp"),
        pod("echo", sidecar=True, command=ECHO),
        pod("client", sidecar=True, image="lateen/sample-curl"),
        peer_authentication("STRICT"),
        namespace=NAMESPACE,
    )
    mesh.wait_ready(NAMESPACE, "web", "echo", "client")
    poll(lambda: status_of(mesh, "web"), until=lambda status: status == 200)
    yield mesh
    mesh.lateen("down", check=False)


def status_of(mesh: Mesh, host: str) -> int:
    """HTTP status of a request from the client through two sidecars."""
    return mesh.curl(NAMESPACE, "client", f"http://{host}/", container="app")[1]


@contextmanager
def held_connections(mesh: Mesh) -> Iterator[subprocess.Popen[str]]:
    """A process in the client that holds connections through two sidecars and answers each line."""
    assert mesh.kubectl_path
    command = [mesh.kubectl_path, "-n", NAMESPACE, "exec", "-i", "client", "-c", "app", "--", "python3", "-c", HOLD]
    process = subprocess.Popen(
        command, env=mesh.environment, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def ask(process: subprocess.Popen[str], word: str) -> str:
    """One line through the held connections, and through new ones."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def fetch(mesh: Mesh, port: str, path: str) -> str:
    """A page of discovery; empty while it is away."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{mesh.running.ports[port]}{path}", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def metric(text: str, name: str) -> dict[str, float]:
    """Samples of a metric: label values -> value."""
    found = re.findall(rf"^{name}(?:{{(.*?)}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def updates(mesh: Mesh, name: str) -> dict[str, int]:
    """What Envoy counted: configuration accepted by type, and whether it hears its control plane."""
    _, status, body = mesh.curl(
        NAMESPACE, name, "http://127.0.0.1:15000/stats?format=json&filter=(cds|lds|rds|eds|control_plane|update_success)",
        container="istio-proxy",
    )  # fmt: skip
    assert status == 200
    stats: list[dict[str, Any]] = json.loads(body)["stats"]
    return {one["name"]: one["value"] for one in stats if "name" in one and one["name"].endswith(("update_success", "connected_state"))}  # fmt: skip


def streams(mesh: Mesh) -> float:
    """Proxies that are connected to discovery now."""
    return metric(fetch(mesh, "monitoring", "/metrics"), "pilot_xds").get("", 0)


def kill_discovery(mesh: Mesh) -> float:
    """Kill it and return how many proxies were connected."""
    connected = poll(lambda: streams(mesh))
    (pid,) = pids_of(str(mesh.state.component_kubeconfig("discovery")))
    os.kill(pid, signal.SIGKILL)
    return float(connected)


def test_discovery_dies_and_no_connection_with_it(own: Mesh) -> None:
    good = "echo {0} 200 True echo {0} 200"
    with held_connections(own) as process:
        assert ask(process, "before") == good.format("before")
        connected = kill_discovery(own)
        while streams(own) < connected:
            assert ask(process, "meanwhile") == good.format("meanwhile")
        assert ask(process, "after") == good.format("after")


def test_a_new_discovery_sends_no_resource_again(own: Mesh) -> None:
    before = {name: updates(own, name) for name in ("web", "client")}
    assert before["client"]["control_plane.connected_state"] == 1
    assert before["client"]["cluster_manager.cds.update_success"] > 0
    connected = kill_discovery(own)
    poll(lambda: streams(own), until=lambda seen: seen >= connected)
    # A change that all see comes after whatever would have been sent again.
    sent_again = metric(fetch(own, "monitoring", "/metrics"), "pilot_xds_push_bytes")
    own.apply(service("marker"), namespace=NAMESPACE)
    poll(
        lambda: {name: updates(own, name)["cluster_manager.cds.update_success"] for name in before},
        until=lambda seen: all(seen[name] > before[name]["cluster_manager.cds.update_success"] for name in before),
    )
    assert sum(sent_again.values()) == 0
    for name in before:
        assert (
            updates(own, name)["cluster_manager.cds.update_success"]
            == before[name]["cluster_manager.cds.update_success"] + 1
        )


def test_what_starts_while_discovery_was_killed_joins_later(own: Mesh) -> None:
    kill_discovery(own)
    own.apply(service("late"), pod("late", sidecar=True), namespace=NAMESPACE)
    own.wait_ready(NAMESPACE, "late")
    poll(lambda: status_of(own, "late"), until=lambda status: status == 200)


def test_everything_dies_and_comes_back_with_objects_and_pods(own: Mesh) -> None:
    names = [f"kept-{number}" for number in range(5)]
    for name in names:
        own.kubectl("-n", NAMESPACE, "create", "configmap", name, "--from-literal=a=b")
    before = own.kubectl("get", "all,configmaps,serviceaccounts,peerauthentications", "-A", "-o", "name").stdout.split()
    processes = descendants(own.running.pid)
    assert len(processes) > 10
    os.kill(own.running.pid, signal.SIGKILL)
    poll(lambda: [pid for pid in processes if processes[pid] == descendants(pid).get(pid)], until=lambda left: not left)
    own.up()
    after = own.kubectl("get", "all,configmaps,serviceaccounts,peerauthentications", "-A", "-o", "name").stdout.split()
    assert set(before) <= set(after)
    assert {f"configmap/{name}" for name in names} <= set(after)
    own.wait_ready(NAMESPACE, "web", "echo", "client")
    poll(lambda: status_of(own, "web"), until=lambda status: status == 200)


def test_down_leaves_no_process_namespace_mount_or_socket(own: Mesh) -> None:
    processes, namespaces = descendants(own.running.pid), namespaces_of(own.running.pid)
    assert len(namespaces) > 10
    own.down()
    assert_nothing_left(own, processes, namespaces)


def test_ctrl_c_leaves_no_process_namespace_mount_or_socket(own: Mesh) -> None:
    own.down()
    command = [*own.command, "up", "--ports", "auto"]
    with subprocess.Popen(command, env=own.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("export KUBECONFIG=")
        own.wait_ready(NAMESPACE, "web", "client")
        processes, namespaces = descendants(process.pid), namespaces_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)
    assert_nothing_left(own, processes, namespaces)


@pytest.mark.parametrize("step", ["looking at the machine", "starting the API server", "starting the control plane"])
def test_ctrl_c_while_it_starts_leaves_nothing(own: Mesh, step: str) -> None:
    own.down()
    command = [*own.command, "up", "--ports", "auto"]
    with subprocess.Popen(command, env=own.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any(step in line for line in process.stderr)
        processes, namespaces = descendants(process.pid), namespaces_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
        assert process.wait(60) == 130
    assert_nothing_left(own, processes, namespaces)


def assert_nothing_left(mesh: Mesh, processes: dict[int, str], namespaces: set[str]) -> None:
    """Neither processes nor their namespaces, neither mounts nor sockets."""
    assert [pid for pid in processes if descendants(pid).get(pid) == processes[pid]] == []
    assert orphans_in(namespaces) == []
    assert pids_of(str(mesh.state.path)) == []
    runtime = mesh.state.runtime
    assert not runtime.exists() or [path for path in runtime.rglob("*") if path.is_socket()] == []
    with open("/proc/self/mounts") as mounts:
        assert str(mesh.state.path) not in mounts.read()
