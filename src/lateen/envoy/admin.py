"""Client of Envoy's admin interface, over any connection.

Connector -> AdminClient -> JSON documents and text. Each call is one HTTP/1.1 exchange on a connection of
its own, so the client works wherever a byte stream can be had: a TCP address, or a socket opened inside a
pod's namespace.

Source: Envoy's operations/admin page; RFC 9112 sections 6 and 7.1 (message body, chunked coding).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from lateen.base.errors import LateenError, UnavailableError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connector = Callable[[], Awaitable[Streams]]

_LINE_LIMIT_BYTES = 1 << 20
_DEADLINE_SECONDS = 10.0


def connect_to_address(host: str, port: int) -> Connector:
    """Return a connector to a TCP address."""

    async def connect() -> Streams:
        return await asyncio.open_connection(host, port, limit=_LINE_LIMIT_BYTES)

    return connect


def connect_with(open_socket: Callable[[], Awaitable[socket.socket]]) -> Connector:
    """Return a connector over sockets that somebody else connects, inside a pod for instance."""

    async def connect() -> Streams:
        return await asyncio.open_connection(sock=await open_socket(), limit=_LINE_LIMIT_BYTES)

    return connect


class AdminError(LateenError):
    """Envoy's admin interface refused a request."""

    def __init__(self, path: str, status: int, text: str) -> None:
        super().__init__(f"Envoy answered {status} to {path}: {text.strip() or 'no reason given'}")
        self.status = status


class AdminClient:
    """Asks one Envoy; raises UnavailableError when it cannot be reached and AdminError when it refuses."""

    def __init__(self, connect: Connector) -> None:
        self._connect = connect

    async def is_ready(self) -> bool:
        """Whether Envoy is live: it has its first clusters and listeners."""
        try:
            status, _ = await self._exchange("GET", "/ready")
        except UnavailableError:
            return False
        return status == 200

    async def get_config_dump(self, *, mask: str = "", include_eds: bool = False) -> dict[str, Any]:
        """Return `/config_dump`, restricted to a field mask when given."""
        query = ({"mask": mask} if mask else {}) | ({"include_eds": ""} if include_eds else {})
        return await self._get_document("/config_dump", query)

    async def get_clusters(self) -> dict[str, Any]:
        """Return `/clusters` with every endpoint and its health."""
        return await self._get_document("/clusters", {"format": "json"})

    async def get_listeners(self) -> dict[str, Any]:
        """Return `/listeners`: the names and addresses that are bound."""
        return await self._get_document("/listeners", {"format": "json"})

    async def get_certificates(self) -> dict[str, Any]:
        """Return `/certs`: the certificates in use."""
        return await self._get_document("/certs", {})

    async def get_server_info(self) -> dict[str, Any]:
        """Return `/server_info`."""
        return await self._get_document("/server_info", {})

    async def get_stats(self, pattern: str = "") -> dict[str, int]:
        """Return counters and gauges by name; `pattern` is a regular expression that names must contain."""
        query = {"format": "json"} | ({"filter": pattern} if pattern else {})
        document = await self._get_document("/stats", query)
        return {stat["name"]: stat["value"] for stat in document["stats"] if "value" in stat}

    async def set_log_level(self, level: str, *, logger: str = "") -> None:
        """Set the level of one logger, or of all."""
        await self.request("POST", "/logging", {logger: level} if logger else {"level": level})

    async def quit(self) -> None:
        """Ask Envoy to end."""
        await self.request("POST", "/quitquitquit")

    async def request(self, method: str, path: str, query: dict[str, str] | None = None) -> bytes:
        """Return the body of a successful answer."""
        status, body = await self._exchange(method, f"{path}?{urlencode(query)}" if query else path)
        if status != 200:
            raise AdminError(path, status, body.decode(errors="replace"))
        return body

    async def _get_document(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(await self.request("GET", path, query))
        return document

    async def _exchange(self, method: str, target: str) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                reader, writer = await self._connect()
                try:
                    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
                    writer.write(f"{head}Connection: close\r\n\r\n".encode("ascii"))
                    return await _read_answer(reader)
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            reason = str(error) or "timeout"
            raise UnavailableError(f"Envoy's admin interface does not answer: {reason}") from error


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    status = int((await reader.readuntil(b"\r\n")).split(b" ", 2)[1])
    headers: dict[bytes, bytes] = {}
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return status, await _read_chunks(reader)
    if (length := headers.get(b"content-length")) is not None:
        return status, await reader.readexactly(int(length))
    return status, await reader.read()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)
