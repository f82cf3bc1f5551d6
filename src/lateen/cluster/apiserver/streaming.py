"""`pods/exec` over WebSocket, subprotocol v5.channel.k8s.io: frames in, pipes or a terminal of a process, frames out.

The framing is `lateen.runtime.channels`. The process gets three pipes, or a terminal with `tty=true`; its exit code
is the last message. A client that hangs up ends the process with SIGHUP. Reads follow the
socket's pace: a slow client slows the process, and nothing is buffered without bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import struct
import termios
from collections.abc import Awaitable, Sequence
from typing import Any

from aiohttp import WSMsgType, web

from lateen.base.errors import LateenError
from lateen.cluster.apiserver.pod_io import Execution, PodIO
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.status import bad_request
from lateen.runtime import channels

_CHUNK_BYTES = 32 << 10
_DRAIN_SECONDS = 5.0


async def serve_exec(request: Request, pods: PodIO, container: str) -> web.StreamResponse:
    """Run the command that the request asks for and stream it until it ends."""
    target = request.target
    query = request.http.query
    arguments = query.getall("command", [])
    if not arguments:
        raise bad_request("you must specify at least one command for the container")
    if request.http.headers.get("Upgrade", "").lower() != "websocket":
        raise bad_request("Upgrade request required: exec is served over WebSocket (kubectl >= 1.31)")
    terminal = request.flag("tty")
    socket = web.WebSocketResponse(protocols=channels.PROTOCOLS, max_msg_size=0, heartbeat=30)
    await socket.prepare(request.http)
    session = ExecSession(socket, accepts_input=request.flag("stdin"))
    try:
        status = await session.run(pods, target.namespace, target.name, container, arguments, terminal=terminal)
    except LateenError as error:
        status = {"metadata": {}, "status": "Failure", "message": error.message, "reason": "InternalError", "code": 500}
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(channels.encode_status(status))
        await socket.close()
    return socket


class ExecSession:
    """One running command and the socket it is streamed over."""

    def __init__(self, socket: web.WebSocketResponse, *, accepts_input: bool) -> None:
        self._socket = socket
        self._accepts_input = accepts_input
        self._input: int | None = None
        self._terminal: int | None = None

    async def run(
        self, pods: PodIO, namespace: str, name: str, container: str, arguments: list[str], *, terminal: bool
    ) -> dict[str, Any]:
        """Run the command; returns the final Status."""
        if terminal:
            execution = await pods.execute(namespace, name, container, arguments, None)
            assert execution.terminal is not None
            self._terminal = self._input = execution.terminal
            outputs: Sequence[Awaitable[None]] = [self._pump(channels.STDOUT, os.dup(execution.terminal))]
        else:
            execution, outputs = await self._start_with_pipes(pods, namespace, name, container, arguments)
        return await self._follow(execution, outputs)

    async def _start_with_pipes(
        self, pods: PodIO, namespace: str, name: str, container: str, arguments: list[str]
    ) -> tuple[Execution, Sequence[Awaitable[None]]]:
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        try:
            execution = await pods.execute(namespace, name, container, arguments, (in_read, out_write, error_write))
        except BaseException:
            for descriptor in (in_write, out_read, error_read):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (in_read, out_write, error_write):
                os.close(descriptor)
        if self._accepts_input:
            self._input = in_write
        else:
            os.close(in_write)
        return execution, [self._pump(channels.STDOUT, out_read), self._pump(channels.STDERR, error_read)]

    async def _follow(self, execution: Execution, outputs: Sequence[Awaitable[None]]) -> dict[str, Any]:
        pumping = [asyncio.ensure_future(output) for output in outputs]
        receiving = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(execution.wait())
        try:
            await asyncio.wait({ended, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await execution.signal(signal.SIGHUP)
            code = await ended
            await asyncio.wait(pumping, timeout=_DRAIN_SECONDS)
            return channels.build_status(code)
        finally:
            tasks = [*pumping, receiving, ended]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._close_input()

    async def _pump(self, channel: int, descriptor: int) -> None:
        try:
            while data := await _read(descriptor):
                await self._socket.send_bytes(channels.encode_frame(channel, data))
        except (OSError, ConnectionError):
            return  # The terminal's last writer or the client is gone.
        finally:
            os.close(descriptor)

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                continue
            channel, data = channels.decode_frame(message.data)
            if channel == channels.STDIN and self._input is not None:
                await _write(self._input, data)
            elif channel == channels.RESIZE and self._terminal is not None:
                self._resize(data)
            elif channel == channels.CLOSE and data[:1] == bytes((channels.STDIN,)) and self._terminal is None:
                self._close_input()

    def _resize(self, data: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError, struct.error):
            size = json.loads(data)
            assert self._terminal is not None
            packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)

    def _close_input(self) -> None:
        if self._input is not None:
            os.close(self._input)
            self._input = self._terminal = None


async def _read(descriptor: int) -> bytes:
    """The next bytes of a pipe or terminal; empty at its end."""
    os.set_blocking(descriptor, False)
    while True:
        try:
            return os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            await _wait(descriptor, writing=False)


async def _write(descriptor: int, data: bytes) -> None:
    """Write everything; a process that closed its input is no error."""
    os.set_blocking(descriptor, False)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await _wait(descriptor, writing=True)
        except OSError:
            return


async def _wait(descriptor: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    own = os.dup(descriptor)
    (loop.add_writer if writing else loop.add_reader)(own, ready.set)
    try:
        await ready.wait()
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(own)
        os.close(own)
