"""The HTTP that port 15020 needs and no more: GET, HEAD and POST without a body worth reading, answers in
one piece.

Flow: listening socket -> requests (method, path, peer) -> a handler's `Answer` -> bytes; connections are
kept open. Invariants: a request's head is bounded, an idle connection ends by itself, nothing of a
request's headers reaches the handler. Why not aiohttp: it would be half of the agent's memory and start,
and on Kubernetes each pod has an agent. Source: RFC 9112, sections 2, 6 and 9.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

_LONGEST_HEAD_BYTES = 1 << 14
_LONGEST_BODY_BYTES = 1 << 16
_IDLE_SECONDS = 90.0
_TEXT = "text/plain; charset=utf-8"


class HttpRequest(NamedTuple):
    """What a handler is told; the query is cut off the path."""

    method: str
    path: str
    peer: str


class Answer(NamedTuple):
    """What a handler says."""

    status: int
    body: bytes = b""
    content_type: str = _TEXT


Handler = Callable[[HttpRequest], Awaitable[Answer]]


class BadRequestError(Exception):
    """The peer does not speak HTTP/1 as it is understood here."""


class HttpServer:
    """Serves one listening socket."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serve on this socket, which is then owned here."""
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_LONGEST_HEAD_BYTES)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            # Cancelled only by `close`, which waits for the end below.
            pass
        except (BadRequestError, asyncio.LimitOverrunError, ValueError):
            writer.write(_encode(Answer(HTTPStatus.BAD_REQUEST, b"not understood"), head=False, keep=False))
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether another may follow."""
        async with asyncio.timeout(_IDLE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, version, headers = _parse_head(head)
        await _skip_body(reader, headers)
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        answer = await self._handler(HttpRequest(method, target.partition("?")[0], peer))
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        writer.write(_encode(answer, head=method == "HEAD", keep=keep))
        await writer.drain()
        return keep


def _parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    line, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not parts[1].startswith("/"):
        raise BadRequestError(line)
    headers = {}
    for each in rest:
        name, colon, value = each.partition(":")
        if not colon or name != name.strip():
            raise BadRequestError(each)
        headers[name.lower()] = value.strip()
    return parts[0], parts[1], parts[2], headers


async def _skip_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> None:
    if "transfer-encoding" in headers:
        raise BadRequestError("a body of unknown length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LONGEST_BODY_BYTES:
        raise BadRequestError("a body too long")
    if int(length):
        async with asyncio.timeout(_IDLE_SECONDS):
            await reader.readexactly(int(length))


def _encode(answer: Answer, *, head: bool, keep: bool) -> bytes:
    status = HTTPStatus(answer.status) if answer.status in HTTPStatus._value2member_map_ else None
    lines = [
        f"HTTP/1.1 {answer.status} {status.phrase if status else ''}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if head else answer.body)
