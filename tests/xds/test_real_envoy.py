"""The server before the real Envoy: what it asks, what it makes of the answers, and that requests never fail."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy_world import EnvoyWorld, cluster, endpoints, find_free_port, listener, route, run_backend, run_envoy

from lateen.envoy.process import EnvoyProcess
from lateen.testing.poll import until
from lateen.xds.messages import DeltaRequest, DeltaResponse
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE


def fetch(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("x-envoy-response-flags", "")


class Traffic:
    """Requests without a pause; `failures` are the answers that are not 200."""

    def __init__(self, port: int, path: str) -> None:
        self.answered = 0
        self.failures: list[tuple[int, str]] = []
        self._port, self._path = port, path

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        try:
            yield
            seen = self.answered
            await until(lambda: self.answered > seen + 20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert not self.failures

    async def _run(self) -> None:
        while True:
            status, text = await asyncio.to_thread(fetch, self._port, self._path)
            self.answered += 1
            if status != 200:
                self.failures.append((status, text))


class Setting:
    def __init__(self, world: EnvoyWorld, envoy: EnvoyProcess, socket: Path, port: int, backend: int) -> None:
        self.world, self.envoy, self.socket, self.port, self.backend = world, envoy, socket, port, backend

    async def settled(self, start: int = 0) -> list[str]:
        """The transcript once every response has its answer."""

        def is_settled() -> bool:
            said = self.world.said[start:]
            sent = {m.nonce for m in said if isinstance(m, DeltaResponse)}
            answered = {m.nonce for m in said if isinstance(m, DeltaRequest)}
            return bool(sent) and sent <= answered

        await until(is_settled, what="an answer to every response")
        return self.world.transcript(start)

    async def find_routes(self) -> dict[str, list[str]]:
        dump = await self.envoy.admin.get_config_dump()
        configs = [c["route_config"] for s in dump["configs"] for c in s.get("dynamic_route_configs", [])]
        return {
            c["name"]: [r["route"]["cluster"] for v in c["virtual_hosts"] for r in v.get("routes", [])] for c in configs
        }

    async def find_clusters(self, section: str = "dynamic_active_clusters") -> dict[str, Any]:
        dump = await self.envoy.admin.get_config_dump()
        return {c["cluster"]["name"]: c["cluster"] for s in dump["configs"] for c in s.get(section, [])}


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    """An Envoy that forwards /a and /b to one backend each, not yet served."""
    world, port, socket = EnvoyWorld(), find_free_port(), tmp_path / "ads.sock"
    async with run_backend("hello") as backend:
        world.put(CLUSTER, cluster("a"), cluster("b"))
        world.put(ENDPOINT, endpoints("a", backend), endpoints("b", backend))
        world.put(LISTENER, listener("front", port, "r"))
        world.put(ROUTE, route("r", "a", "b"))
        async with run_envoy(tmp_path, socket) as envoy:
            yield Setting(world, envoy, socket, port, backend)


async def test_envoy_starts_in_order_and_then_hears_nothing(setting: Setting) -> None:
    async with setting.world.serve(setting.socket):
        await setting.envoy.wait_ready()
        lines = await setting.settled()
        sent = [line for line in lines if line.startswith("<")]
        assert [line.split()[1] for line in sent] == ["CDS", "EDS", "LDS", "RDS"]
        assert await asyncio.to_thread(fetch, setting.port, "/a") == (200, "hello")


async def test_changed_clusters_and_endpoints_become_active_under_traffic(setting: Setting) -> None:
    async with setting.world.serve(setting.socket):
        await setting.envoy.wait_ready()
        start = len(setting.world.said)
        traffic = Traffic(setting.port, "/a")
        async with traffic.flowing(), run_backend("moved") as moved:
            for seconds in range(2, 6):
                setting.world.put(CLUSTER, cluster("a", connectTimeout=f"{seconds}s"))
                await until(lambda: traffic.answered > 20)
            setting.world.put(ENDPOINT, endpoints("a", moved))
            await until(lambda: asyncio.to_thread(lambda: fetch(setting.port, "/a")[1] == "moved"))
            setting.world.put(ENDPOINT, endpoints("a", setting.backend))
            await until(lambda: asyncio.to_thread(lambda: fetch(setting.port, "/a")[1] == "hello"))
        await setting.settled(start)
        assert await setting.find_clusters("dynamic_warming_clusters") == {}
        assert (await setting.find_clusters())["a"]["connect_timeout"] == "5s"


async def test_a_route_to_a_new_cluster_never_meets_a_missing_one(setting: Setting) -> None:
    async with setting.world.serve(setting.socket):
        await setting.envoy.wait_ready()
        await setting.settled()
        traffic = Traffic(setting.port, "/a")
        async with traffic.flowing():
            for number in range(10):
                name, start = f"new{number}", len(setting.world.said)
                moved = route("r", name)
                moved["virtualHosts"][0]["routes"][0]["match"]["prefix"] = "/a"
                setting.world.change(
                    {ROUTE: [moved], ENDPOINT: [endpoints(name, setting.backend)], CLUSTER: [cluster(name)]},
                    {CLUSTER: [f"new{number - 1}"]} if number else {},
                )
                lines = await setting.settled(start)
                said = [line for line in lines if line[0] == "<" or line.endswith("ACK")]
                assert said.index("> CDS ACK") < said.index("< RDS +r")
                if number:
                    await until(lambda start=start: any("< CDS -" in s for s in setting.world.transcript(start)))
        assert set(await setting.find_clusters()) == {"a", "b", "new9"}


async def test_one_bad_route_is_refused_and_the_others_are_used(setting: Setting) -> None:
    world = setting.world
    async with world.serve(setting.socket):
        await setting.envoy.wait_ready()
        world.put(LISTENER, *(listener(f"l{n}", find_free_port(), f"r{n}") for n in range(2, 6)))
        world.put(ROUTE, *(route(f"r{n}", "a") for n in range(2, 6)))
        await until(lambda: any("+r5" in line for line in world.transcript()))
        await setting.settled()
        bad = {"name": "r3", "virtualHosts": [{"name": v, "domains": ["*"]} for v in ("x", "y")]}
        world.put(ROUTE, route("r", "b"), route("r2", "b"), bad, route("r4", "b"), route("r5", "b"))
        expected = {"r": ["b"], "r2": ["b"], "r3": ["a"], "r4": ["b"], "r5": ["b"]}

        async def are_applied() -> bool:
            return await setting.find_routes() == expected

        await until(are_applied)
        await setting.settled()
        (connection,) = world.ads.connections.values()
        refusals = connection.stream.protocol.refusals[ROUTE]
        assert list(refusals) == ["r3"]
        assert "Only a single wildcard domain" in refusals["r3"].message

        start = len(world.said)
        world.put(ROUTE, route("r2", "a"))
        assert [line for line in await setting.settled(start) if line[0] == "<"] == ["< RDS +r2"]
        world.put(ROUTE, route("r3", "b"))
        await until(lambda: not refusals)


async def test_one_bad_cluster_is_refused_and_the_others_are_used(setting: Setting) -> None:
    async with setting.world.serve(setting.socket):
        await setting.envoy.wait_ready()
        await setting.settled()
        setting.world.put(CLUSTER, cluster("a", connectTimeout="7s"), cluster("d", connectTimeout="-1s"))

        async def is_applied() -> bool:
            return bool((await setting.find_clusters())["a"]["connect_timeout"] == "7s")

        await until(is_applied)
        (connection,) = setting.world.ads.connections.values()
        await until(lambda: list(connection.stream.protocol.refusals.get(CLUSTER, ())) == ["d"])


async def test_the_server_goes_and_comes_back_unnoticed(setting: Setting) -> None:
    async with setting.world.serve(setting.socket):
        await setting.envoy.wait_ready()
        await setting.settled()
        setting.world.put(CLUSTER, cluster("a", connectTimeout="3s"))
        setting.world.put(LISTENER, listener("second", find_free_port(), "r"))
        await until(lambda: "< LDS +second" in setting.world.transcript())
        await setting.settled()
    start = len(setting.world.said)
    traffic = Traffic(setting.port, "/b")
    async with traffic.flowing():
        await until(lambda: traffic.answered > 5)
        async with setting.world.serve(setting.socket):
            await until(lambda: sum(line.startswith("> ") for line in setting.world.transcript(start)) >= 4)
            setting.world.put(ROUTE, route("r", "b"))
            lines = await setting.settled(start)
            assert [line for line in lines if line[0] == "<"] == ["< RDS +r"]


async def test_removals_leave_listeners_before_clusters(setting: Setting) -> None:
    async with setting.world.serve(setting.socket):
        await setting.envoy.wait_ready()
        setting.world.put(LISTENER, listener("second", find_free_port(), "other"))
        setting.world.put(ROUTE, route("other", "b"))
        await until(lambda: "< RDS +other" in setting.world.transcript())
        await setting.settled()
        start = len(setting.world.said)
        setting.world.change(
            {ROUTE: [route("r", "a")]}, {CLUSTER: ["b"], ENDPOINT: ["b"], LISTENER: ["second"], ROUTE: ["other"]}
        )
        await until(lambda: "< CDS -b" in setting.world.transcript(start))
        lines = await setting.settled(start)
        sent = [line for line in lines if line[0] == "<"]
        assert sent[0] == "< RDS +r"
        assert sent.index("< LDS -second") < sent.index("< CDS -b")
        assert await asyncio.to_thread(fetch, setting.port, "/a") == (200, "hello")
