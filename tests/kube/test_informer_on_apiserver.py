"""An informer on the real API server, which is killed and started again under it."""

import asyncio
import signal
from pathlib import Path

from test_kube_client import CONFIG_MAP

from lateen.api.objects import JsonObject, ObjectKey
from lateen.base.errors import NotFoundError, UnavailableError
from lateen.kube.client import Client
from lateen.kube.discovery import discover
from lateen.kube.errors import ApiConflictError
from lateen.kube.informer import Change, Informer
from lateen.testing.apiserver_process import run_process
from lateen.testing.poll import until


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

    async with run_process(tmp_path) as server, Client(server.config()) as client:
        informer = Informer(client, CONFIG_MAP, on_changes=follow, namespace="default")
        task = asyncio.create_task(informer.run())
        await informer.synced()
        for life in range(3):
            for number in range(100):
                await write(client, life * 100 + number)
            await server.restart(signal.SIGKILL)
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
    async with run_process(tmp_path) as server, Client(server.config()) as client:
        kinds = {kind.qualified_name: kind for kind in await discover(client)}
        slices = kinds["endpointslices.discovery.k8s.io"]
        assert (slices.version, slices.kind, slices.namespaced) == ("v1", "EndpointSlice", True)
        assert {"list", "watch", "deletecollection"} <= set(slices.verbs)
        assert "status" in kinds["pods"].subresources
        assert not kinds["namespaces"].namespaced
