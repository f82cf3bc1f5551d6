"""The protocol between node and agent, over real unix sockets."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest

from lateen.base.errors import UnavailableError
from lateen.runtime.agent_client import AgentClient
from lateen.runtime.agent_control import (
    AddPod,
    Connect,
    Done,
    Frame,
    FrameDecoder,
    Link,
    RemovePod,
    encode_frame,
)
from lateen.testing.poll import until


def make_pod(uid: str, *, labels: dict[str, str] | None = None) -> AddPod:
    return AddPod(
        uid=uid,
        name=f"pod-{uid}",
        namespace="default",
        ip="10.244.0.7",
        service_account="default",
        ads_socket=f"/nowhere/{uid}/ads.sock",
        token_file="/nowhere/token",
        root_cert_file="/nowhere/root-cert.pem",
        labels=labels or {},
    )


@contextlib.asynccontextmanager
async def linked(left_handler, right_handler):
    left_socket, right_socket = socket.socketpair(socket.AF_UNIX)
    left, right = Link(left_socket, left_handler), Link(right_socket, right_handler)
    tasks = [asyncio.create_task(left.run()), asyncio.create_task(right.run())]
    try:
        yield left, right
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def refuse(request, sockets):
    raise UnavailableError(f"no {type(request).__name__}")


async def test_a_socket_sent_with_a_pod_works_on_the_other_side():
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    async def keep(request, sockets):
        got.append((request, sockets))
        return []

    async with linked(refuse, keep) as (node, _):
        await node.ask(make_pod("a", labels={"app": "web"}), [listener])
    (request, (received,)) = got[0]
    assert request.labels == {"app": "web"}
    assert received.getsockname() == listener.getsockname()
    listener.close()
    with socket.create_connection(received.getsockname()):
        received.accept()[0].close()
    received.close()


async def test_both_sides_ask_at_once_and_replies_come_in_any_order():
    first_may_end = asyncio.Event()
    left_end, right_end = socket.socketpair()

    async def connect(request, sockets):
        if request.port == 1:
            await first_may_end.wait()
            return [left_end]
        return [right_end]

    async def accept(request, sockets):
        return []

    async with linked(connect, accept) as (node, agent):
        slow = asyncio.create_task(agent.ask(Connect(uid="a", port=1)))
        (quick,) = await agent.ask(Connect(uid="a", port=2))
        await node.ask(RemovePod(uid="a"))
        assert not slow.done()
        first_may_end.set()
        (late,) = await slow
        late.sendall(b"hello")
        assert quick.recv(5) == b"hello"
        quick.close()
        late.close()


async def test_a_refusal_reaches_the_asker_with_its_reason():
    async with linked(refuse, refuse) as (node, _):
        with pytest.raises(UnavailableError, match="no AddPod"):
            await node.ask(make_pod("a"))


async def test_the_peers_death_fails_what_waits_and_what_comes_later():
    left_socket, right_socket = socket.socketpair(socket.AF_UNIX)
    link = Link(left_socket, refuse)
    running = asyncio.create_task(link.run())
    waiting = asyncio.create_task(link.ask(RemovePod(uid="a")))
    await asyncio.get_running_loop().run_in_executor(None, right_socket.recv, 4)
    right_socket.close()
    with pytest.raises(UnavailableError):
        await waiting
    await running
    with pytest.raises(UnavailableError):
        await link.ask(RemovePod(uid="a"))


async def test_a_message_larger_than_the_socket_buffer_arrives_whole():
    labels = {f"label-{number}": "x" * 1000 for number in range(1500)}
    got = []

    async def keep(request, sockets):
        got.append(request)
        return []

    async with linked(refuse, keep) as (node, _):
        await node.ask(make_pod("big", labels=labels))
    assert got[0].labels == labels


def test_frames_split_at_every_byte_keep_their_descriptors():
    first, second = os.pipe()
    frames = [Frame(1, 1, Done()), Frame(2, 0, RemovePod(uid="a")), Frame(3, 1, Connect(uid="b", port=80))]
    data = b"".join(map(encode_frame, frames))
    decoder = FrameDecoder()
    out = []
    for position in range(len(data)):
        out += decoder.feed(data[position : position + 1], [first, second] if position == 0 else [])
    os.close(first)
    os.close(second)
    assert out == [(frames[0], [first]), (frames[1], []), (frames[2], [second])]


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02{}", b"\x00\x00\x00\x01!", encode_frame(Frame(1, 1, Done()))],
    ids=["too long", "no message", "no JSON", "descriptor missing"],
)
def test_what_is_not_the_protocol_is_refused(data):
    with pytest.raises(UnavailableError):
        FrameDecoder().feed(data, [])


class Agent:
    """The least that can stand in for an agent: remembers the pods it was told of."""

    def __init__(self, path: Path) -> None:
        self.pods: dict[str, AddPod] = {}
        self.links: list[Link] = []
        self._path = path
        self._tasks: list[asyncio.Task] = []

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.setblocking(False)
        self._server.bind(str(self._path))
        self._server.listen()
        self._tasks.append(asyncio.create_task(self._accept()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.links.clear()
        self.pods.clear()
        self._server.close()

    async def _accept(self) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._server)
            link = Link(connection, self._handle)
            self.links.append(link)
            self._tasks.append(asyncio.create_task(link.run()))

    async def _handle(self, request, sockets):
        for each in sockets:
            each.close()
        if isinstance(request, RemovePod):
            del self.pods[request.uid]
        elif request.name == "pod-refused":
            raise UnavailableError("not this one")
        else:
            self.pods[request.uid] = request
        return []


async def test_the_client_registers_again_after_the_agent_was_killed(tmp_path):
    async def connect(request):
        return socket.create_connection((request.host, request.port))

    agent = Agent(tmp_path / "control.sock")
    client = AgentClient(str(tmp_path / "control.sock"), connect=connect)
    running = asyncio.create_task(client.run())
    listener = socket.create_server(("127.0.0.1", 0))
    early = asyncio.create_task(client.add_pod(make_pod("a"), listener))
    await agent.start()
    async with asyncio.timeout(20):
        await early
        await client.add_pod(make_pod("b"), listener)
        assert set(agent.pods) == {"a", "b"}
        await agent.stop()
        late = asyncio.create_task(client.add_pod(make_pod("c"), listener))
        await client.remove_pod("b")
        await agent.start()
        await late
        await until(lambda: set(agent.pods) == {"a", "c"}, what="both pods are registered again")
        with pytest.raises(UnavailableError, match="not this one"):
            await client.add_pod(make_pod("refused"), listener)
        (connected,) = await agent.links[-1].ask(Connect(uid="a", port=listener.getsockname()[1]))
        assert connected.getpeername() == listener.getsockname()
        connected.close()
    await client.remove_pod("a")
    await client.remove_pod("c")
    await client.remove_pod("refused")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await agent.stop()
    listener.close()
