"""Run a command in a container through `pods/exec`: command and input -> output and exit code.

One WebSocket with subprotocol v5.channel.k8s.io (framing in `lateen.runtime.channels`). The server tells
the exit code in its last message; a command that could not be run at all is an ApiError.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

from aiohttp import ClientWebSocketResponse, WSMsgType

from lateen.base.errors import UnavailableError
from lateen.kube.client import Client
from lateen.kube.errors import build_error
from lateen.runtime import channels

Sink = Callable[[bytes], None]


async def run_in_pod(
    client: Client,
    namespace: str,
    name: str,
    command: list[str],
    *,
    container: str = "",
    stdin: AsyncIterator[bytes] | None = None,
    on_stdout: Sink,
    on_stderr: Sink,
) -> int:
    """The exit code of the command; its output goes to the sinks as it comes."""
    params = [("command", word) for word in command]
    params += [("stdout", "true"), ("stderr", "true")]
    params += [("container", container)] if container else []
    params += [("stdin", "true")] if stdin is not None else []
    path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}/exec"
    async with client.websocket(path, params=params, protocols=(channels.PROTOCOL,)) as socket:
        sender = asyncio.ensure_future(_send(socket, stdin)) if stdin is not None else None
        try:
            return await _receive(socket, {channels.STDOUT: on_stdout, channels.STDERR: on_stderr})
        finally:
            if sender is not None:
                sender.cancel()


async def _send(socket: ClientWebSocketResponse, stdin: AsyncIterator[bytes]) -> None:
    async for chunk in stdin:
        await socket.send_bytes(channels.encode_frame(channels.STDIN, chunk))
    await socket.send_bytes(bytes((channels.CLOSE, channels.STDIN)))


async def _receive(socket: ClientWebSocketResponse, sinks: dict[int, Sink]) -> int:
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            continue
        channel, data = channels.decode_frame(message.data)
        if channel == channels.ERROR:
            return _read_status(json.loads(data))
        if channel in sinks:
            sinks[channel](data)
    raise UnavailableError("the connection ended before the command did")


def _read_status(status: dict[str, Any]) -> int:
    code = channels.exit_code_of(status)
    if code is None:
        raise build_error(status)
    return code
