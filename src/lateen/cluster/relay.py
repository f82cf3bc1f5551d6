"""TCP relays: each connection to a listening socket is joined to one that is opened for it, wherever that leads.

Flow: listening socket -> connection -> `connect()` -> bytes both ways. From the node's bridge to the host's 127.0.0.1
(`connect_to_host`), and from the host's node ports to endpoints (host_ports.py).
Invariants: a side reads no faster than the other takes (one buffer each way); the end of one direction is passed on
and leaves the other open; a failure on either side resets the other; at most `CONNECTIONS` at once, more wait in the
listener's backlog. A target that refuses is told to the client as a reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import TaskSet

log = get_logger("cluster/relay")

HOST = "127.0.0.1"
CONNECTIONS = 1024
_BUFFER_BYTES = 1 << 16
_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
_RESET = struct.pack("ii", 1, 0)

Connect = Callable[[], Awaitable[socket.socket]]
"""Opens a non-blocking connection to the target; raises OSError."""


def connect_to_host(port: int) -> Connect:
    """What connects to a port of the host's 127.0.0.1."""

    async def connect() -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            await asyncio.get_running_loop().sock_connect(opened, (HOST, port))
        except BaseException:
            opened.close()
            raise
        return opened

    return connect


class Relay:
    """One listening socket and its connections."""

    def __init__(self, listener: socket.socket, connect: Connect, *, connections: int = CONNECTIONS) -> None:
        """The listener is closed when `serve` ends."""
        self._listener = listener
        self._connect = connect
        self._port: int = listener.getsockname()[1]
        self._free = asyncio.Semaphore(connections)
        self._connections = TaskSet(f"relay-{self._port}")

    async def serve(self) -> None:
        """Relay until cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        try:
            with self._listener:
                while True:
                    await self._free.acquire()
                    try:
                        client, _address = await loop.sock_accept(self._listener)
                    except OSError as error:
                        # Out of descriptors, or the client gave up meanwhile: neither ends the relay.
                        log.warning("cannot accept", port=self._port, error=error)
                        self._free.release()
                        await asyncio.sleep(_RETRY_SECONDS)
                        continue
                    self._connections.start(self._join(client), name="connection")
        finally:
            await self._connections.close()

    async def _join(self, client: socket.socket) -> None:
        try:
            with client:
                try:
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        target = await self._connect()
                    with target:
                        await self._pump(client, target)
                except (OSError, TimeoutError, asyncio.CancelledError) as error:
                    _reset(client)
                    if isinstance(error, asyncio.CancelledError):
                        raise
                    log.debug("connection ended", port=self._port, error=error)
        finally:
            self._free.release()

    async def _pump(self, client: socket.socket, target: socket.socket) -> None:
        try:
            for side in (client, target):
                _prepare(side)
            await _pump_both(client, target)
        except (OSError, asyncio.CancelledError):
            _reset(target)
            raise


async def _pump_both(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until both have ended; the first failure ends both."""
    pumps = [asyncio.create_task(_pump(one, other)), asyncio.create_task(_pump(other, one))]
    try:
        await asyncio.gather(*pumps)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    while size := await loop.sock_recv_into(source, buffer):
        await loop.sock_sendall(target, buffer[:size])
    target.shutdown(socket.SHUT_WR)


def _prepare(side: socket.socket) -> None:
    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A pod that ends takes its namespace along, and nobody is left to say that its connections ended.
    side.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        side.setsockopt(socket.IPPROTO_TCP, option, value)


def _reset(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
