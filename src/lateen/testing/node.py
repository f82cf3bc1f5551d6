"""A real node namespace and pods without containers, in which tests open sockets.

`async with run_node_namespace() as node:` -> `pod = await open_pod(node, "10.244.0.5")` -> `pod.listen`, `pod.connect`:
sockets of the pod's network namespace, used from the test's process. `Echo` answers with its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator

from lateen.cluster.node.sandbox import NodeNamespace, Sandbox
from lateen.cluster.zygote import fork_zygote

_DEADLINE_SECONDS = 15
_numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def run_node_namespace() -> AsyncIterator[NodeNamespace]:
    """A node namespace with its bridge, until the block ends."""
    node = NodeNamespace(fork_zygote())
    try:
        await node.wait_ready()
        yield node
    finally:
        await node.stop()


async def open_pod(node: NodeNamespace, address: str) -> Sandbox:
    """A pod with this address and no containers; it ends with the node."""
    return await node.create_sandbox(f"pod-{next(_numbers)}", "pod", address, lambda *_: None)


class Echo:
    """A TCP server that sends its name and the client's address, then what it receives."""

    def __init__(self, name: str) -> None:
        self._name = name

    @contextlib.asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve until the block ends."""
        async with await asyncio.start_server(self._answer, sock=listener):
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{self._name} {writer.get_extra_info('peername')[0]}\n".encode())
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()


async def greet(opened: socket.socket) -> tuple[str, str]:
    """Return name and client address that an `Echo` behind a connected socket sends; closes the socket."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        reader, writer = await asyncio.open_connection(sock=opened)
        try:
            name, _, address = (await reader.readline()).decode().strip().partition(" ")
        finally:
            writer.close()
            await writer.wait_closed()
    return name, address
