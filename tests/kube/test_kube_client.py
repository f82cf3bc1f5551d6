"""The client and the informer against a server that fails in every way an API server does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from watch_server import serve

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.base.errors import PermissionDeniedError, UnavailableError
from lateen.cluster.pki import open_pki
from lateen.kube.client import Client, format_path
from lateen.kube.config import ClientConfig
from lateen.kube.errors import ApiForbiddenError, ApiGoneError, ApiUnavailableError
from lateen.kube.informer import Change, Informer, InformerSet
from lateen.testing.poll import until


def find_kind(group: str, version: str, name: str) -> Kind:
    kind = Registry(BUILTIN).find_kind(group, version, name)
    assert kind is not None
    return kind


CONFIG_MAP = find_kind("", "v1", "ConfigMap")
NAMESPACE = find_kind("", "v1", "Namespace")
SLICE = find_kind("discovery.k8s.io", "v1", "EndpointSlice")


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[tuple[Informer, list[str]]]:
    told: list[str] = []
    informer = Informer(client, CONFIG_MAP, on_changes=lambda batch: told.extend(map(describe, batch)))
    task = asyncio.create_task(informer.run())
    try:
        await informer.synced()
        yield informer, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def describe(change: Change) -> str:
    return f"{change.type.value} {change.key.name}"


def names(informer: Informer) -> list[str]:
    return sorted(key.name for key in informer.objects)


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "subresource", "path"),
    [
        (CONFIG_MAP, "", "", "", "/api/v1/configmaps"),
        (CONFIG_MAP, "a", "b", "", "/api/v1/namespaces/a/configmaps/b"),
        (NAMESPACE, "", "a", "finalize", "/api/v1/namespaces/a/finalize"),
        (NAMESPACE, "ignored", "a", "", "/api/v1/namespaces/a"),
        (SLICE, "a", "b/c", "", "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices/b%2Fc"),
    ],
)
def test_paths(kind: Kind, namespace: str, name: str, subresource: str, path: str) -> None:
    assert format_path(kind, namespace, name, subresource) == path


async def test_a_list_is_read_page_by_page(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _), Client(config) as client:
        for number in range(7):
            await server.put(f"map{number}")
        server.page = 3
        found = await client.list(CONFIG_MAP, "default")
        assert [item["metadata"]["name"] for item in found.items] == [f"map{number}" for number in range(7)]
        assert {item["kind"] for item in found.items} == {"ConfigMap"}
        assert found.resource_version == "107"
        assert len(server.requests) == 3


async def test_refusals_are_errors_of_ours(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _), Client(config) as client:
        server.tokens.clear()
        with pytest.raises(ApiForbiddenError, match="who are you") as refused:
            await client.list(CONFIG_MAP)
        assert isinstance(refused.value, PermissionDeniedError)
        assert (refused.value.code, refused.value.reason) == (401, "Unauthorized")
        server.refusing = True
        with pytest.raises(ApiUnavailableError, match="503: not now"):
            await client.get(CONFIG_MAP, "default", "x")
        server.refusing, server.tokens = False, {"good"}
        await server.put("a")
        await server.compact()
        with pytest.raises(ApiGoneError):
            async for _ in client.watch(CONFIG_MAP, resource_version="1"):
                pass


async def test_a_server_that_is_not_there_or_not_ours_is_unavailable(tmp_path: Path) -> None:
    other = open_pki(tmp_path / "two").ca_pem
    async with serve(tmp_path / "one") as (_, config, _), Client(replace(config, ca_pem=other)) as client:
        with pytest.raises(UnavailableError, match="certificate that we do not trust"):
            await client.list(CONFIG_MAP)
    async with Client(config) as client:
        with pytest.raises(UnavailableError, match="cannot reach"):
            await client.list(CONFIG_MAP)


async def test_a_rotated_token_file_is_read_again(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _):
        file = tmp_path / "token"
        file.write_text("old\n")
        server.tokens = {"old"}
        async with Client(replace(config, token=None, token_file=file)) as client:
            await client.list(CONFIG_MAP)
            fresh = tmp_path / "fresh"
            fresh.write_text("new\n")
            fresh.replace(file)
            server.tokens = {"new"}
            await client.list(CONFIG_MAP)
            file.unlink()
            with pytest.raises(UnavailableError, match="token file"):
                await client.list(CONFIG_MAP)


async def test_lines_of_a_watch_may_be_of_any_length(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _), Client(config) as client:
        async with running(client) as (informer, told):
            await server.put("large", data="x" * (3 << 20))
            await server.put("small")
            await until(lambda: len(told) == 2)
        assert told == ["ADDED large", "ADDED small"]
        assert all("managedFields" not in item["metadata"] for item in informer.objects.values())


async def test_an_informer_follows_changes_in_order(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _), Client(config) as client:
        await server.put("a")
        async with running(client) as (informer, told):
            await server.put("b")
            await server.put("a", x="1")
            await server.delete("b")
            await server.put("b")
            await until(lambda: len(told) == 5)
            assert told == ["ADDED a", "ADDED b", "MODIFIED a", "DELETED b", "ADDED b"]
            assert names(informer) == ["a", "b"]


async def test_a_dropped_watch_goes_on_where_it_was(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _), Client(config) as client:
        async with running(client) as (_, told):
            await server.put("a")
            await until(lambda: len(told) == 1)
            await server.bookmark()
            await server.disconnect()
            await server.put("b")
            await until(lambda: len(told) == 2)
        assert told == ["ADDED a", "ADDED b"]
        assert sum("watch" not in request for request in server.requests) == 1, "listed once"


async def test_after_410_the_new_list_is_compared_with_what_was_known(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _), Client(config) as client:
        for name in ("kept", "changed", "deleted", "replaced"):
            await server.put(name)
        async with running(client) as (informer, told):
            told.clear()
            server.refusing = True
            await server.disconnect()
            await until(lambda: server.requests.count(server.requests[-1]) > 1)
            await server.put("changed", x="1")
            await server.delete("deleted")
            await server.put("replaced", uid="another")
            await server.put("new")
            await server.compact()
            server.refusing = False
            await until(lambda: len(told) >= 5)
            assert told == [
                "DELETED deleted",
                "MODIFIED changed",
                "ADDED new",
                "DELETED replaced",
                "ADDED replaced",
            ]
            assert names(informer) == ["changed", "kept", "new", "replaced"]


async def test_a_set_is_synced_when_all_its_kinds_are(tmp_path: Path) -> None:
    async with serve(tmp_path) as (server, config, _), Client(config) as client:
        await server.put("a")
        told: list[str] = []
        informers = InformerSet(client, on_changes=lambda batch: told.extend(map(describe, batch)))
        informers.add(CONFIG_MAP)
        informers.add(SLICE)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(informers.run())
            await informers.synced()
            task.cancel()
        assert sorted(told) == ["ADDED a", "ADDED a"]
        assert len(informers[SLICE].objects) == 1


async def test_the_text_form_of_a_config_has_no_secret(tmp_path: Path) -> None:
    assert "good" not in repr(ClientConfig(server="https://x", token="good"))
