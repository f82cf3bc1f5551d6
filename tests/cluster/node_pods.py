"""An API server and a node in the test's process, and pods on it. No controllers: what they make is made here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from lateen.api.objects import JsonObject
from lateen.cluster.apiserver.main import write_kubeconfigs
from lateen.cluster.apiserver.server import ApiServer
from lateen.cluster.images import ImageTable
from lateen.cluster.node.node import Node
from lateen.cluster.node.pod_api import EVENTS, PODS, get_kind
from lateen.cluster.pki import open_pki
from lateen.cluster.ports import listen_on
from lateen.cluster.state import StateDir
from lateen.cluster.store import Store
from lateen.cluster.zygote import fork_zygote
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.kube.errors import ApiConflictError, ApiNotFoundError
from lateen.runtime.tasks import TaskSet
from lateen.testing.poll import until

CONFIG_MAPS, SECRETS = get_kind("", "v1", "configmaps"), get_kind("", "v1", "secrets")
SERVICES = get_kind("", "v1", "services")
ACCOUNTS = get_kind("", "v1", "serviceaccounts")
SLEEP = ["sleep", "infinity"]


class RunningNode:
    """What tests do with the node."""

    def __init__(self, admin: Client, node: Node, state: StateDir) -> None:
        self.admin = admin
        self.node = node
        self.state = state

    async def create(self, name: str, *containers: JsonObject, **spec: Any) -> JsonObject:
        """Create a pod of these containers."""
        return await self.admin.create(PODS, pod(name, *containers, **spec))

    async def get(self, name: str) -> JsonObject | None:
        """The pod as the API server has it."""
        try:
            return await self.admin.get(PODS, "default", name)
        except ApiNotFoundError:
            return None

    async def until(self, name: str, condition: Callable[[JsonObject], object], what: str) -> JsonObject:
        """Wait until the pod is so."""
        last: list[JsonObject | None] = []

        async def attempt() -> JsonObject | None:
            found = await self.get(name)
            last[:] = [found]
            return found if found is not None and condition(found) else None

        try:
            return await until(attempt, what=what, deadline_seconds=20) or {}
        except TimeoutError:
            raise AssertionError(f"{what}: {json.dumps(last, indent=1)}") from None

    async def until_ready(self, name: str) -> JsonObject:
        """Wait until the pod is Ready."""
        return await self.until(name, is_ready, f"{name} is ready")

    async def until_phase(self, name: str, phase: str) -> JsonObject:
        """Wait until the pod has this phase."""
        return await self.until(name, lambda found: found["status"].get("phase") == phase, f"{name} is {phase}")

    async def until_gone(self, name: str) -> None:
        """Wait until the pod's object is deleted."""

        async def gone() -> bool:
            return await self.get(name) is None

        await until(gone, what=f"{name} is gone")

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages of the pod's events."""
        found = (await self.admin.list(EVENTS, "default")).items
        return [(each["reason"], each["message"]) for each in found if each["involvedObject"]["name"] == name]

    async def until_event(self, name: str, reason: str) -> str:
        """Wait for an event with this reason; its message."""

        async def find() -> str | None:
            return next((message for seen, message in await self.events(name) if seen == reason), None)

        return str(await until(find, what=f"event {reason} of {name}"))

    async def log(self, name: str, container: str = "app", **options: Any) -> str:
        """A container's log so far."""
        wanted = {"follow": False, "tail_lines": None, "previous": False, "since": None, "timestamps": False}
        pieces = self.node.logs("default", name, container, **{**wanted, **options})
        return b"".join([piece async for piece in pieces]).decode()

    async def execute(self, name: str, *arguments: str, container: str = "app") -> tuple[int, str]:
        """Run a program in a container; its exit code and everything it printed."""
        read, write = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        try:
            execution = await self.node.execute("default", name, container, list(arguments), (null, write, write))
        finally:
            os.close(write)
            os.close(null)
        reader = asyncio.StreamReader()
        pipe = os.fdopen(read, "rb")
        transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            output = await reader.read()
            return await execution.wait(), output.decode("utf-8", "replace")
        finally:
            transport.close()


def pod(name: str, *containers: JsonObject, **spec: Any) -> JsonObject:
    """A Pod that ends within a second."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, **spec, "containers": list(containers)},
    }


def shell(script: str, name: str = "app", **fields: Any) -> JsonObject:
    """A container that runs a shell script."""
    return {"name": name, "image": "any", "command": ["sh", "-c", script], **fields}


def config_map(name: str, **data: str) -> JsonObject:
    """A ConfigMap."""
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def is_ready(found: JsonObject) -> bool:
    """Whether a pod has condition Ready."""
    conditions = found["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def status_of(found: JsonObject, container: str = "app") -> JsonObject:
    """The status of one of a pod's containers."""
    statuses = found["status"].get("containerStatuses", []) + found["status"].get("initContainerStatuses", [])
    return next((each for each in statuses if each["name"] == container), {"state": {}})


@contextlib.asynccontextmanager
async def run_node(directory: Path) -> AsyncIterator[RunningNode]:
    """A cluster of API server and node on a state directory, which may be that of an earlier run."""
    zygote = fork_zygote()
    state = StateDir(directory)
    state.create()
    pki = open_pki(state.pki)
    listener = listen_on(0)
    server = ApiServer(Store(state.database), pki)
    write_kubeconfigs(directory, pki, f"https://127.0.0.1:{listener.getsockname()[1]}")
    await server.start([listener])
    tasks = TaskSet("test-node")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        admin = await stack.enter_async_context(Client(load_config(state.kubeconfig)))
        client = await stack.enter_async_context(Client(load_config(state.component_kubeconfig("node"))))
        for kind, document in (
            (
                ACCOUNTS,
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}},
            ),
            (CONFIG_MAPS, config_map("kube-root-ca.crt", **{"ca.crt": pki.ca_pem.decode()})),
        ):
            with contextlib.suppress(ApiConflictError):
                await admin.create(kind, document)
        node = Node(client=client, zygote=zygote, images=ImageTable(), state=state)
        stack.push_async_callback(tasks.close)
        running = tasks.start(node.run(), name="node")
        ready = asyncio.ensure_future(node.ready())
        await asyncio.wait({running, ready}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        assert ready.done(), "the node is not ready"
        yield RunningNode(admin, node, state)
