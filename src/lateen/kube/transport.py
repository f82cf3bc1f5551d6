"""HTTP to one API server: method, path, body -> bytes, or an error of ours.

The one place that knows aiohttp: its exceptions are wrapped here, once. Lines of a stream may be of any
length, unlike aiohttp's own line reader. Every call is cancellable; a dead peer is noticed by a read
timeout.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp

from lateen.base.errors import UnavailableError
from lateen.kube.config import ClientConfig
from lateen.kube.errors import decode_error
from lateen.kube.token import TokenSource

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0


class Transport:
    """A pool of connections to the server of a config; made and closed inside a running loop."""

    def __init__(self, config: ClientConfig, *, user_agent: str) -> None:
        self.server = config.server
        self._token = TokenSource(config)
        self._server_name = config.tls_server_name
        context = config.build_tls_context()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context if context is not None else True),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS, sock_connect=_CONNECT_SECONDS),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """The body of the answer."""
        headers = self._build_headers(accept)
        if body is not None:
            headers["Content-Type"] = content_type
        with self._wrap_errors():
            async with self._session.request(
                method,
                self.server + path,
                params=params,
                data=body,
                headers=headers,
                server_hostname=self._server_name,
            ) as response:
                content = await response.read()
                if response.status >= 400:
                    raise decode_error(response.status, content)
                return content

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str] | None = None, read_seconds: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's chunks as they come; `read_seconds` bounds the silence between two of them."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=read_seconds)
        with self._wrap_errors():
            async with self._session.get(
                self.server + path,
                params=params,
                headers=self._build_headers("application/json"),
                timeout=timeout,
                server_hostname=self._server_name,
            ) as response:
                if response.status >= 400:
                    raise decode_error(response.status, await response.read())
                yield response.content.iter_any()

    @asynccontextmanager
    async def websocket(
        self, path: str, *, params: Sequence[tuple[str, str]], protocols: tuple[str, ...]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket with one of the subprotocols; a refusal is the server's own error, as for any request."""
        headers = self._build_headers("application/json")
        with self._wrap_errors():
            try:
                async with self._session.ws_connect(
                    self.server + path, params=params, headers=headers, protocols=protocols, max_msg_size=0
                ) as socket:
                    yield socket
            except aiohttp.WSServerHandshakeError as error:
                if error.status < 400:
                    raise
                async with self._session.get(self.server + path, params=params, headers=headers) as response:
                    raise decode_error(error.status, await response.read()) from error

    def _build_headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept}
        if token := self._token.find_token():
            headers["Authorization"] = f"Bearer {token}"
        return headers

    @contextmanager
    def _wrap_errors(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            raise UnavailableError(
                f"{self.server} shows a certificate that we do not trust: {error.certificate_error}",
                fix="check certificate-authority-data in the kubeconfig",
            ) from error
        except TimeoutError as error:
            raise UnavailableError(f"{self.server} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            reason: Any = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise UnavailableError(
                f"cannot reach the API server {self.server}: {reason}",
                fix="is it running? `lateen status` tells",
            ) from error


def split_lines(buffer: bytearray, chunk: bytes) -> list[bytes]:
    """Append the chunk to the buffer and take the lines that are complete; the rest stays."""
    start = len(buffer)
    buffer += chunk
    end = buffer.rfind(b"\n", start)
    if end < 0:
        return []
    lines = bytes(buffer[:end]).split(b"\n")
    del buffer[: end + 1]
    return lines
