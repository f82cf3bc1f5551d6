"""The asyncio side of node-init and pod-init: requests over their channels, sockets back, events out.

Flow: `NodeNamespace(zygote)` -> `create_sandbox` -> `Sandbox` -> `start`, `signal`, `execute`, `connect`, `listen`.
Invariants: a refused request raises `SandboxError` that names the step and errno, as does every request to a process
that is gone. Sockets are connected and opened in the pod's namespace and then belong to the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from lateen.cluster.network.nft import Batch
from lateen.cluster.node.channel_client import ChannelClient
from lateen.cluster.node.channel_client import SandboxError as SandboxError
from lateen.cluster.sandbox.channel import Message
from lateen.cluster.zygote import ZygoteHandle

ExitHandler = Callable[[str, int, str], None]
"""(container key, exit code, termination message)."""


class _Sockets:
    """What node-init and pod-init have in common: sockets and rules of a network namespace."""

    def __init__(self, client: ChannelClient) -> None:
        self._client = client

    @property
    def closed(self) -> asyncio.Event:
        """Set when the process is gone."""
        return self._client.closed

    def close(self) -> None:
        """End the process and all below it."""
        self._client.close()

    async def listen(self, host: str, port: int, *, datagram: bool = False) -> socket.socket:
        """Return a non-blocking listening (or bound datagram) socket of the namespace."""
        _result, [descriptor] = await self._client.request("listen", host=host, port=port, datagram=datagram)
        return socket.socket(fileno=descriptor)

    async def connect(self, host: str, port: int, *, source: str = "", timeout: float | None = None) -> socket.socket:
        """Return a connected non-blocking TCP socket of the namespace; raises SandboxError or TimeoutError."""
        _result, [descriptor] = await self._client.request("connect", host=host, port=port, source=source)
        opened = socket.socket(fileno=descriptor)
        try:
            async with asyncio.timeout(timeout):
                await _wait_writable(opened)
            if number := opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise SandboxError(f"connect to {host}:{port}", number)
        except BaseException:
            opened.close()
            raise
        return opened

    async def apply_rules(self, batch: Batch) -> None:
        """Apply an nftables batch in the namespace, all or nothing."""
        data, last = batch.encode()
        await self._client.request("rules", batch=data.hex(), last=last)


async def _wait_writable(opened: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(opened.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(opened.fileno())


class Sandbox(_Sockets):
    """One pod's pid 1."""

    def __init__(self, end: socket.socket, on_exit: ExitHandler) -> None:
        super().__init__(ChannelClient(end, self._handle))
        self._on_exit = on_exit
        self._executions: dict[int, asyncio.Future[int]] = {}

    async def start(self, key: str, spec: Message) -> None:
        """Start a container; returns when its program runs, raises SandboxError."""
        await self._client.request("start", container=key, **spec)

    async def signal(self, key: str, number: int) -> None:
        """Send a signal to the container's main process."""
        await self._client.request("signal", container=key, signal=number)

    async def kill(self, key: str) -> None:
        """End every process of the container now."""
        await self._client.request("kill", container=key)

    async def execute(self, key: str, arguments: list[str], standard: tuple[int, int, int] | None) -> Execution:
        """Run a program beside the container's, with these descriptors, or with a new terminal if None."""
        number, answer = self._client.begin(
            "exec", standard or (), container=key, arguments=arguments, terminal=standard is None
        )
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._executions[number] = ended
        try:
            _result, descriptors = await answer
        except BaseException:
            del self._executions[number]
            raise
        return Execution(self._client, key, number, ended, descriptors[0] if descriptors else None)

    def _handle(self, event: Message) -> None:
        if event["event"] == "exited":
            self._on_exit(event["container"], event["code"], event.get("message", ""))
        elif event["event"] == "exec-exited":
            ended = self._executions.pop(event["exec"], None)
            if ended is not None and not ended.done():
                ended.set_result(event["code"])

    def close(self) -> None:
        """End the pod."""
        super().close()
        for ended in self._executions.values():
            if not ended.done():
                ended.set_result(137)
        self._executions.clear()


class Execution:
    """A program running beside a container's; `terminal` is the master side if it has one."""

    def __init__(
        self, client: ChannelClient, key: str, number: int, ended: asyncio.Future[int], terminal: int | None
    ) -> None:
        self._client = client
        self._key = key
        self._number = number
        self._ended = ended
        self.terminal = terminal

    async def wait(self) -> int:
        """Return the exit code (128 + n for signal n; 137 when the container ended first)."""
        return await asyncio.shield(self._ended)

    async def signal(self, number: int) -> None:
        """Send the program a signal; one that has ended gets none."""
        with contextlib.suppress(SandboxError):
            await self._client.request("signal", container=self._key, exec=self._number, signal=number)


class NodeNamespace(_Sockets):
    """The namespace that holds the bridge and all pods."""

    def __init__(self, zygote: ZygoteHandle) -> None:
        self._zygote = zygote
        self._ready = asyncio.Event()
        self._failure: SandboxError | None = None
        super().__init__(ChannelClient(zygote.channel, self._handle))

    async def wait_ready(self) -> None:
        """Return when the node's network exists; raises SandboxError naming the step that failed."""
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def create_sandbox(self, uid: str, host_name: str, address: str, on_exit: ExitHandler) -> Sandbox:
        """Return a new pod with its network; `on_exit` is told of containers that ended."""
        _result, [descriptor] = await self._client.request("sandbox", uid=uid, host_name=host_name, address=address)
        return Sandbox(socket.socket(fileno=descriptor), on_exit)

    async def stop(self) -> None:
        """End every pod; returns when no process of theirs is left."""
        self.close()
        await asyncio.get_running_loop().run_in_executor(None, self._zygote.close)

    def _handle(self, event: Message) -> None:
        if event["event"] == "failed":
            self._failure = SandboxError(event["step"], event["errno"])
        elif event["event"] == "closed" and not self._ready.is_set():
            self._failure = SandboxError("start the zygote", errno.ESRCH)
        if event["event"] in ("ready", "failed", "closed"):
            self._ready.set()
