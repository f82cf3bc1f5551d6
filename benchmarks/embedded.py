"""An embedded cluster to measure on: started as `lateen up` starts it, with a namespace of two pods with sidecars.

Flow: `running_cluster()` -> the daemon and when each of its steps was done; `build_pods()` -> documents;
`Cluster` -> what the benchmarks ask of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.cli.output import Steps
from lateen.cli.up import start_daemon
from lateen.cluster.state import StateDir, find_running
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.kube.exec import run_in_pod
from lateen.testing.poll import until

REGISTRY = Registry([*BUILTIN, *ISTIO])
NAMESPACE = "bench"
PROXY = "istio/proxyv2:1.28.0"


class Stopwatch(Steps):
    """Takes the time of each of the daemon's steps instead of showing them."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.times: list[tuple[str, float]] = []
        self._last = time.perf_counter()

    def done(self, text: str) -> None:
        now = time.perf_counter()
        self.times.append((text, now - self._last))
        self._last = now


@dataclass
class Cluster:
    """A running cluster and its administrator."""

    state: StateDir
    client: Client
    pid: int
    ports: dict[str, int]

    async def create(self, documents: list[dict[str, Any]]) -> None:
        for document in documents:
            kind = REGISTRY.find_document(document)
            assert kind is not None, document["kind"]
            await self.client.create(kind, document)

    async def pods_are_ready(self) -> None:
        async def are_ready() -> bool:
            pods = (await self.client.list(find_kind("pods"), NAMESPACE)).items
            return all(is_ready(pod) for pod in pods)

        await until(are_ready, what="the pods are ready", deadline_seconds=60)

    async def run(self, pod: str, command: list[str]) -> tuple[int, str]:
        """Exit code and output of a command in the pod's container `curl`."""
        output = bytearray()
        code = await run_in_pod(
            self.client, NAMESPACE, pod, command, container="curl", on_stdout=output.extend, on_stderr=lambda _: None
        )
        return code, output.decode()

    async def delete_namespace(self) -> None:
        async def is_gone() -> bool:
            names = await self.client.list(find_kind("namespaces"), field_selector=f"metadata.name={NAMESPACE}")
            return not names.items

        await self.client.delete(find_kind("namespaces"), "", NAMESPACE)
        await until(is_gone, what="the namespace is gone", deadline_seconds=60)


def find_kind(word: str) -> Kind:
    kind = REGISTRY.resolve(word)
    assert isinstance(kind, Kind), word
    return kind


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def build_pods() -> list[dict[str, Any]]:
    """Namespace, a client, and a server behind the Service `server`, both pods with sidecars."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "server"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    server = {"name": "app", "image": "lateen/sample-http", "ports": [{"containerPort": 8080}]}
    curl = {"name": "curl", "image": "lateen/sample-curl"}
    return [namespace, service, _build_pod("client", [curl]), _build_pod("server", [server, curl])]


def _build_pod(name: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    init = [{"name": "istio-init", "image": PROXY}, {"name": "istio-proxy", "image": PROXY, "restartPolicy": "Always"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "initContainers": init, "containers": containers},
    }


@contextmanager
def started_daemon(stopwatch: Stopwatch) -> Iterator[StateDir]:
    """A cluster of its own, in a directory that goes with it."""
    directory = Path(tempfile.mkdtemp(prefix="lateen-bench-"))
    state = StateDir(directory)
    # As for every user but those who forbid it: the interpreter keeps what it has compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        daemon = start_daemon(state, steps=stopwatch, automatic_ports=True, attached=True)
        try:
            yield state
        finally:
            daemon.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(state.runtime, ignore_errors=True)


@asynccontextmanager
async def running_cluster(stopwatch: Stopwatch | None = None) -> AsyncIterator[Cluster]:
    """The same, with a client."""
    with started_daemon(stopwatch or Stopwatch()) as state:
        running = find_running(state)
        assert running is not None
        async with Client(load_config(state.kubeconfig)) as client:
            yield Cluster(state, client, running.pid, running.ports)


def read_memory(pid: int) -> dict[str, float]:
    """Rss and Pss of a process in MB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        found[name.rstrip(":")] = int(value) / 1024
    return found


def find_descendants(pid: int) -> Iterator[tuple[int, str]]:
    """The process and all below it, with their command lines."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    waiting = [pid]
    while waiting:
        pid = waiting.pop()
        yield pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
        waiting += children.get(pid, [])
