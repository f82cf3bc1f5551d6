"""The ADS server over real sockets, with a world of plain strings behind it."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf import wrappers_pb2

from lateen.base.errors import PermissionDeniedError
from lateen.runtime.grpc import build_server, listen_plain, listen_unix
from lateen.runtime.metrics import Metrics
from lateen.testing.ads_client import AdsClient
from lateen.testing.poll import until
from lateen.xds.index import SubscriptionIndex
from lateen.xds.messages import DeltaRequest
from lateen.xds.protocol import MAX_NAMES
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, SECRET, Resource, ResourceSet, build_resource
from lateen.xds.server import AdsServer, Caller
from lateen.xds.streams import Viewer


def resource(name: str, value: str) -> Resource:
    return build_resource(wrappers_pb2.StringValue(value=value), name)


class World:
    """type -> name -> content; clusters and listeners can be had whole, the rest by name."""

    def __init__(self) -> None:
        self.contents: dict[str, dict[str, str]] = {}
        self.index = SubscriptionIndex()

    def find_call(self, type_url: str, name: str | None) -> Hashable | None:
        if type_url == SECRET:
            return None
        if type_url in (CLUSTER, LISTENER):
            return (type_url, None) if name is None else None
        return None if name is None else (type_url, name)

    async def ask(self, calls: Iterable[Hashable | None]) -> list[ResourceSet | Resource | None]:
        return [self.find(call) for call in calls]

    def find(self, call: Hashable | None) -> ResourceSet | Resource | None:
        match call:
            case (str(type_url), None):
                found = self.contents.get(type_url, {})
                return ResourceSet(resource(name, value) for name, value in found.items())
            case (str(type_url), str(name)):
                content = self.contents.get(type_url, {}).get(name)
                return None if content is None else resource(name, content)
            case _:
                return None

    def set(self, type_url: str, name: str, content: str | None) -> None:
        resources = self.contents.setdefault(type_url, {})
        resources.pop(name, None)
        if content is not None:
            resources[name] = content
        for _ in self.index.mark({(type_url, None), (type_url, name)}):
            pass


class Ads:
    def __init__(self, world: World) -> None:
        self.world = world
        self.metrics = Metrics()
        self.ads = AdsServer(self.admit, world.index, self.metrics)
        self.target = ""

    async def admit(self, caller: Caller, node: bytes) -> Viewer:
        if node == b"stranger":
            raise PermissionDeniedError("who are you")
        return self.world

    @asynccontextmanager
    async def run(self, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        server = build_server([self.ads.build_handler(is_encrypted=False)])
        port = listen_plain(server, address)
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


@pytest.fixture
def world() -> World:
    world = World()
    world.set(CLUSTER, "a", "1")
    world.set(ENDPOINT, "a", "1")
    return world


async def test_a_change_reaches_its_subscribers_only(world: World) -> None:
    ads = Ads(world)
    async with ads.run() as target, AdsClient(target) as first, AdsClient(target) as second:
        first.subscribe(ENDPOINT, ["a"])
        second.subscribe(ENDPOINT, ["b"])
        await until(lambda: "a" in first.held[ENDPOINT] and second.removed)
        before = second.total_bytes
        world.set(ENDPOINT, "a", "2")
        await until(lambda: first.held[ENDPOINT]["a"].version == resource("a", "2").version)
        assert second.total_bytes == before
        assert len(ads.ads.connections) == 2
        assert ads.metrics.counter("pilot_xds_pushes", "", "type").get(type="eds") == 3


async def test_a_client_that_comes_back_gets_no_resource_again(world: World) -> None:
    client: AdsClient
    async with Ads(world).run() as target:
        client = AdsClient(target)
        async with client:
            client.subscribe(CLUSTER)
            client.subscribe(ENDPOINT, ["a"])
            await until(lambda: client.held[CLUSTER] and client.held[ENDPOINT])
        address = target
        before = client.total_bytes
    async with Ads(world).run(address), client:
        world.set(LISTENER, "l", "1")
        client.subscribe(LISTENER)
        await until(lambda: client.held[LISTENER])
        assert client.total_bytes - client.received_bytes[LISTENER] == before


async def test_a_stranger_is_refused(world: World) -> None:
    async with Ads(world).run() as target, AdsClient(target, node=b"stranger") as client:
        client.subscribe(CLUSTER)
        failure = await until(lambda: client.failure)
        assert failure.code() == grpc.StatusCode.UNAUTHENTICATED
        assert client.total_bytes == 0


async def test_streams_leave_the_index_when_they_end(world: World) -> None:
    ads = Ads(world)
    async with ads.run() as target:
        async with AdsClient(target) as client:
            client.subscribe(CLUSTER)
            client.subscribe(ENDPOINT, ["a", "b"])
            await until(lambda: len(world.index) == 3)
            client.unsubscribe(ENDPOINT, ["b"])
            await until(lambda: len(world.index) == 2)
        await until(lambda: not ads.ads.connections and not len(world.index))


@pytest.mark.parametrize(
    "request_",
    [
        DeltaRequest(CLUSTER, tuple(map(str, range(MAX_NAMES + 1)))),
        DeltaRequest(ENDPOINT, tuple(f"{number:0100}" for number in range(60_000))),
        DeltaRequest("", ("a",)),
    ],
    ids=["100,000 names", "message beyond the limit", "no type"],
)
async def test_a_hostile_request_ends_its_stream_and_no_other(world: World, request_: DeltaRequest) -> None:
    async with Ads(world).run() as target, AdsClient(target) as bystander:
        bystander.subscribe(CLUSTER)
        await until(lambda: bystander.held[CLUSTER])
        async with AdsClient(target) as hostile:
            hostile.send(request_)
            failure = await until(lambda: hostile.failure)
            assert failure.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
        world.set(CLUSTER, "b", "1")
        await until(lambda: "b" in bystander.held[CLUSTER])


async def test_bytes_that_are_no_request_end_the_stream(world: World) -> None:
    async with Ads(world).run() as target, AdsClient(target) as client:
        client._outbox.put_nowait(b"\xff\xff\xff")
        failure = await until(lambda: client.failure)
        assert failure.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_endless_refusals_trigger_no_push_storm(world: World) -> None:
    async with Ads(world).run() as target, AdsClient(target, refuse=lambda _: "never") as client:
        client.subscribe(CLUSTER)
        await until(lambda: client.responses)
        nonce = client.responses[0].nonce
        for _ in range(500):
            client.send(DeltaRequest(CLUSTER, nonce=nonce, error="never"))
        client.subscribe(ENDPOINT, ["a"])
        await until(lambda: any(response.type_url == ENDPOINT for response in client.responses))
        assert [r.type_url for r in client.responses].count(CLUSTER) == 1


async def test_a_client_that_reads_nothing_holds_one_response_and_no_queue(world: World) -> None:
    world.set(CLUSTER, "big", "x" * 3_000_000)
    ads = Ads(world)
    async with ads.run() as target, AdsClient(target) as bystander:
        bystander.subscribe(ENDPOINT, ["a"])
        async with AdsClient(target) as slow:
            slow._tasks[0].cancel()
            slow.subscribe(CLUSTER)
            await until(lambda: len(ads.ads.connections) == 2)
            for number in range(50):
                world.set(CLUSTER, "big", f"{number}" * 1_000_000)
                world.set(ENDPOINT, "a", str(number))
                await until(
                    lambda number=number: (
                        "a" in bystander.held[ENDPOINT]
                        and bystander.held[ENDPOINT]["a"].version == resource("a", str(number)).version
                    )
                )
            pushes = ads.metrics.counter("pilot_xds_pushes", "", "type")
            assert pushes.get(type="cds") <= 2


async def test_a_unix_socket_belongs_to_its_user_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "ads.sock"
    path.touch()
    server = build_server([Ads(world).ads.build_handler(is_encrypted=False)])
    listen_unix(server, path)
    await server.start()
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        async with AdsClient(f"unix:{path}") as client:
            client.subscribe(CLUSTER)
            await until(lambda: client.held[CLUSTER])
    finally:
        await server.stop(None)
    await asyncio.sleep(0)
