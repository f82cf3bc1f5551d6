"""An informer on the real API server, which is killed and started again under it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from test_kube_client import CONFIG_MAP

from lateen.api.objects import JsonObject, ObjectKey
from lateen.base.errors import NotFoundError, UnavailableError
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.kube.discovery import discover
from lateen.kube.errors import ApiConflictError
from lateen.kube.informer import Change, Informer
from lateen.testing.poll import until


class Server:
    """The API server as a process; its port stays the same."""

    def __init__(self, state: Path) -> None:
        self.kubeconfig = state / "kubeconfig"
        self._arguments = ["--state", str(state)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "lateen.cluster.apiserver.main", *self._arguments]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        assert await self._process.stdout.readline()
        port = load_config(self.kubeconfig).server.rpartition(":")[2]
        self._arguments = [*self._arguments[:2], "--port", port]

    async def stop(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()


@asynccontextmanager
async def serve(state: Path) -> AsyncIterator[Server]:
    server = Server(state)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(signal.SIGTERM)


def build(name: str, value: str) -> JsonObject:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


async def write(client: Client, number: int) -> None:
    """One write out of many that create, change and delete ten objects."""
    name = f"map{number % 10}"
    try:
        if number % 7 == 0:
            await client.delete(CONFIG_MAP, "default", name)
        else:
            await client.patch(CONFIG_MAP, "default", name, {"data": {"value": str(number)}})
    except NotFoundError:
        try:
            await client.create(CONFIG_MAP, build(name, str(number)))
        except ApiConflictError:
            return


async def test_nothing_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    told: dict[ObjectKey, JsonObject] = {}

    def follow(batch: tuple[Change, ...]) -> None:
        for change in batch:
            assert (change.old is None) == (change.key not in told), "an ADDED object was unknown"
            if change.new is None:
                del told[change.key]
            else:
                told[change.key] = change.new

    async with serve(tmp_path) as server, Client(load_config(server.kubeconfig)) as client:
        informer = Informer(client, CONFIG_MAP, on_changes=follow, namespace="default")
        task = asyncio.create_task(informer.run())
        await informer.synced()
        for life in range(3):
            for number in range(100):
                await write(client, life * 100 + number)
            await server.stop(signal.SIGKILL)
            await server.start()
        for number in range(40):
            await until(lambda number=number: _succeeds(client, number))  # type: ignore[misc]

        async def is_equal() -> bool:
            found = await client.list(CONFIG_MAP, "default")
            expected = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in found.items}
            copies = [informer.objects, told]
            return all(
                {key.name: document["metadata"]["resourceVersion"] for key, document in copy.items()} == expected
                for copy in copies
            )

        await until(is_equal)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _succeeds(client: Client, number: int) -> bool:
    try:
        await write(client, number)
    except UnavailableError:
        return False
    return True


async def test_kinds_are_discovered(tmp_path: Path) -> None:
    async with serve(tmp_path) as server, Client(load_config(server.kubeconfig)) as client:
        kinds = {kind.qualified_name: kind for kind in await discover(client)}
        slices = kinds["endpointslices.discovery.k8s.io"]
        assert (slices.version, slices.kind, slices.namespaced) == ("v1", "EndpointSlice", True)
        assert {"list", "watch", "deletecollection"} <= set(slices.verbs)
        assert "status" in kinds["pods"].subresources
        assert not kinds["namespaces"].namespaced
