"""The way to discovery: one TLS channel for all pods of the node, each call with its own pod's token.

Flow: address + root file -> channel; `open_stream` for ADS, `create_certificate` for CSRs.
Invariants: the server is verified against the root file under its own name, never left out; when the file
changes, new calls use a new channel and old calls end by themselves; waiting for discovery to come back
costs a reconnection at most every half second. Source: Istio pkg/istio-agent (xds_proxy, caclient): port
15012, bearer tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from lateen.base.errors import PermissionDeniedError, UnavailableError
from lateen.citadel import messages
from lateen.runtime.clock import Clock, SystemClock
from lateen.runtime.grpc import Stream, build_channel, open_stream
from lateen.runtime.logging import get_logger

log = get_logger("agent/upstream")

DISCOVERY_NAME = "istiod.istio-system.svc"
"""The name in discovery's serving certificate; `lateen.pilot` issues it."""

_ROOT_CHECK = timedelta(milliseconds=500)
_FIRST_ROOT_CHECK = timedelta(milliseconds=25)  # at a cluster's start the file comes a moment later.
_CSR_DEADLINE_SECONDS = 10.0
_REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class _Connection:
    """A channel and the number of calls in it; the last call of a replaced one closes it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0
        self.replaced = asyncio.Event()

    async def leave(self) -> None:
        self.calls -= 1
        if self.replaced.is_set() and self.calls == 0:
            await self.channel.close(None)


class Upstream:
    """Reaches discovery, whenever it is there."""

    def __init__(
        self,
        address: str,
        root_cert_file: Path,
        *,
        name: str = DISCOVERY_NAME,
        clock: Clock | None = None,
    ) -> None:
        """`address` is HOST:PORT; `name` must stand in the server's certificate."""
        self._address = address
        self._root_cert_file = root_cert_file
        self._name = name
        self._clock: Clock = clock or SystemClock()
        self._roots = b""
        self._connection: _Connection | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Follow the root file until cancelled."""
        try:
            while True:
                roots = await asyncio.to_thread(_read_or_empty, self._root_cert_file)
                if roots and roots != self._roots:
                    self._roots = roots
                    await self._replace(self._build_channel(roots))
                await self._clock.sleep(_ROOT_CHECK if self._roots else _FIRST_ROOT_CHECK)
        finally:
            if self._connection is not None:
                await self._connection.channel.close(None)

    @asynccontextmanager
    async def open_stream(self, method: str, token: str) -> AsyncIterator[Stream]:
        """Open a stream as soon as discovery is there; its messages are bytes."""
        async with self._use_ready() as channel:
            call = open_stream(channel, method, _bearer(token))
            try:
                yield call
            finally:
                call.cancel()

    async def create_certificate(self, csr_pem: bytes, token: str, lifetime: timedelta) -> list[bytes]:
        """Return the chain for a CSR; raises `PermissionDeniedError` or `UnavailableError`."""
        request = messages.build_request(csr_pem.decode(), max(1, round(lifetime.total_seconds())))
        try:
            async with asyncio.timeout(_CSR_DEADLINE_SECONDS), self._use_ready() as channel:
                call: Any = channel.unary_unary(messages.METHOD, None, None)
                answer = await call(messages.encode(request), metadata=_bearer(token))
        except TimeoutError:
            raise UnavailableError(f"discovery at {self._address} does not answer") from None
        except grpc.aio.AioRpcError as error:
            kind = PermissionDeniedError if error.code() in _REFUSALS else UnavailableError
            raise kind(f"discovery: {error.code().name}: {error.details()}") from error
        try:
            return [each.encode() for each in messages.decode_response(answer).cert_chain]
        except DecodeError as error:
            raise UnavailableError("discovery answered with something that is no certificate") from error

    @asynccontextmanager
    async def _use_ready(self) -> AsyncIterator[grpc.aio.Channel]:
        connection = await self._wait_ready()
        try:
            yield connection.channel
        finally:
            await connection.leave()

    async def _wait_ready(self) -> _Connection:
        """Return a connection whose channel is up, with one call counted in it."""
        while True:
            await self._connected.wait()
            connection = self._connection
            if connection is None:
                raise UnavailableError("the way to discovery is closed")
            connection.calls += 1
            ready = asyncio.ensure_future(connection.channel.channel_ready())
            replaced = asyncio.ensure_future(connection.replaced.wait())
            entered = False
            try:
                await asyncio.wait((ready, replaced), return_when=asyncio.FIRST_COMPLETED)
                entered = ready.done() and not connection.replaced.is_set()
                if entered:
                    return connection
            finally:
                for waiting in (ready, replaced):
                    waiting.cancel()
                await asyncio.gather(ready, replaced, return_exceptions=True)
                if not entered:
                    await connection.leave()

    async def _replace(self, channel: grpc.aio.Channel) -> None:
        old, self._connection = self._connection, _Connection(channel)
        self._connected.set()
        log.info("trusting roots for discovery", address=self._address, renewed=old is not None)
        if old is not None:
            old.replaced.set()
            old.calls += 1
            await old.leave()

    def _build_channel(self, roots: bytes) -> grpc.aio.Channel:
        return build_channel(self._address, roots_pem=roots, server_name=self._name, options=_RECONNECT)


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def _read_or_empty(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
