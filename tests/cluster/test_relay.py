"""Relays between real sockets: half-close, back-pressure, resets, limits."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lateen.cluster.relay import Relay, connect_to_host
from lateen.runtime.tasks import TaskSet
from lateen.testing.poll import until

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def run_relay(handler: Handler, *, connections: int = 16) -> AsyncIterator[int]:
    """The port of a relay to a server with this handler."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=1 << 16)
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    tasks = TaskSet("test")
    relay = Relay(listener, connect_to_host(server.sockets[0].getsockname()[1]), connections=connections)
    tasks.start(relay.serve(), name="relay")
    try:
        async with server:
            yield port
    finally:
        await tasks.close()


@contextlib.asynccontextmanager
async def connect(port: int) -> AsyncIterator[Streams]:
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def answer_when_all_was_said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = await reader.read()
    writer.write(b"you said " + asked)
    await writer.drain()
    writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_the_end_of_one_direction_leaves_the_other_open() -> None:
    async with run_relay(answer_when_all_was_said) as port, connect(port) as (reader, writer):
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"you said hello"


async def test_much_data_passes_both_ways_unchanged() -> None:
    sent = bytes(range(256)) * 40_000
    async with run_relay(echo) as port, connect(port) as (reader, writer):

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read() == sent
        await sending


async def test_a_side_that_does_not_read_stops_the_other() -> None:
    reading = asyncio.Event()
    taken = 0

    async def take_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await reading.wait()
        while data := await reader.read(1 << 16):
            taken += len(data)
        writer.close()

    total = 64 << 20
    async with run_relay(take_later) as port, connect(port) as (reader, writer):
        sent, chunk = 0, bytes(1 << 16)

        async def fill() -> None:
            nonlocal sent
            while sent < total:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
            writer.write_eof()

        filling = asyncio.create_task(fill())
        last = -1

        def stands_still() -> bool:
            nonlocal last
            before, last = last, sent
            return 0 < sent == last == before

        await until(stands_still, what="the sender waits")
        assert sent < total, "the relay does not take what nobody reads"
        reading.set()
        await filling
        assert await reader.read() == b""
        assert taken == total


async def test_a_host_port_that_refuses_is_a_reset() -> None:
    async with run_relay(echo) as port:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            closed: int = unused.getsockname()[1]
        listener = socket.create_server(("127.0.0.1", 0))
        tasks = TaskSet("test")
        tasks.start(Relay(listener, connect_to_host(closed)).serve(), name="relay")
        async with connect(listener.getsockname()[1]) as (reader, _writer):
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
        async with connect(port) as (reader, writer):
            writer.write(b"others go on")
            assert await reader.readexactly(12) == b"others go on"
        await tasks.close()


async def test_a_reset_passes_through() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        opened: socket.socket = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with run_relay(reset) as port, connect(port) as (reader, writer):
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


async def test_connections_above_the_limit_wait_for_their_turn() -> None:
    async with run_relay(echo, connections=1) as port, connect(port) as (reader, writer):
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        async with connect(port) as (other_reader, other_writer):
            other_writer.write(b"2")
            answered = asyncio.create_task(other_reader.readexactly(1))
            writer.write(b"3")
            assert await reader.readexactly(1) == b"3"
            assert not answered.done()
            writer.close()
            assert await answered == b"2"


async def test_the_end_of_the_relay_is_the_end_of_its_connections() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with run_relay(echo) as port:
            reader, writer = await stack.enter_async_context(connect(port))
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
