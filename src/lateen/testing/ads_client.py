"""A light delta ADS client: subscribes, acknowledges, keeps what it was given, counts bytes.

Flow: `subscribe(type, names)` -> requests; responses -> `held` (type -> name -> `Held`), acknowledged, or refused
if `refuse` says so. It behaves as Envoy: on a new stream it states the versions it has. Reading happens in a task
of its own; `until` from `lateen.testing.poll` waits for what is expected.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import grpc

from lateen.runtime.grpc import build_channel, open_stream
from lateen.xds.messages import (
    ADS_SERVICE,
    DELTA_METHOD,
    DeltaRequest,
    DeltaResponse,
    decode_delta_response,
    encode_delta_request,
)
from lateen.xds.subscription import WILDCARD


@dataclass(frozen=True, slots=True)
class Held:
    """A resource as the client has it."""

    version: str
    value: bytes = field(repr=False)


class AdsClient:
    """One client over any number of streams, one at a time; an async context manager is one stream."""

    def __init__(
        self,
        target: str,
        *,
        node: bytes = b"",
        token: str | None = None,
        roots_pem: bytes | None = None,
        server_name: str | None = None,
        refuse: Callable[[DeltaResponse], str | None] = lambda _: None,
        keep_values: bool = True,
    ) -> None:
        """`node` is a serialised `envoy.config.core.v3.Node`; `refuse` returns the words of a refusal."""
        self.wanted: dict[str, set[str]] = {}
        self.held: dict[str, dict[str, Held]] = {}
        self.responses: list[DeltaResponse] = []
        self.removed: list[tuple[str, str]] = []
        self.received_bytes: Counter[str] = Counter()
        self.failure: grpc.aio.AioRpcError | None = None
        self.acknowledges = True
        self._node = node
        self._target, self._roots_pem, self._server_name = target, roots_pem, server_name
        self._metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
        self._refuse = refuse
        self._keep_values = keep_values
        self._first = True
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._channel = build_channel(
            self._target,
            roots_pem=self._roots_pem,
            server_name=self._server_name,
            options=(("grpc.use_local_subchannel_pool", 1),),
        )
        self._call = open_stream(self._channel, f"/{ADS_SERVICE}/{DELTA_METHOD}", self._metadata)
        self._first, self.failure, self._outbox = True, None, asyncio.Queue()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        for type_url, names in self.wanted.items():
            stated = {name: held.version for name, held in self.held.get(type_url, {}).items()}
            subscribe = () if names == {WILDCARD} else tuple(sorted(names))
            self.send(DeltaRequest(type_url, subscribe, versions=stated))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close(None)

    def subscribe(self, type_url: str, names: Iterable[str] = (WILDCARD,)) -> None:
        """Ask for names of a type; without names for everything, in the old way of an empty first request."""
        names = tuple(names)
        is_new = type_url not in self.wanted
        self.wanted.setdefault(type_url, set()).update(names)
        self.held.setdefault(type_url, {})
        legacy = is_new and names == (WILDCARD,)
        self.send(DeltaRequest(type_url, () if legacy else names))

    def unsubscribe(self, type_url: str, names: Sequence[str]) -> None:
        """Give names of a type up."""
        self.wanted[type_url].difference_update(names)
        for name in names:
            self.held[type_url].pop(name, None)
        self.send(DeltaRequest(type_url, unsubscribe=tuple(names)))

    def send(self, request: DeltaRequest) -> None:
        """Send any request; the first one of a stream carries the node."""
        if self._first:
            request, self._first = replace(request, node=self._node), False
        self._outbox.put_nowait(encode_delta_request(request))

    @property
    def total_bytes(self) -> int:
        """Bytes of every response so far."""
        return self.received_bytes.total()

    async def _write(self) -> None:
        while True:
            await self._call.write(await self._outbox.get())

    async def _read(self) -> None:
        try:
            async for data in self._call:
                response = decode_delta_response(data)
                self.received_bytes[response.type_url] += len(data)
                self._take(response)
        except grpc.aio.AioRpcError as error:
            self.failure = error

    def _take(self, response: DeltaResponse) -> None:
        if self._keep_values:
            self.responses.append(response)
        error = self._refuse(response)
        held = self.held.setdefault(response.type_url, {})
        if error is None:
            for name, (version, value) in response.resources.items():
                held[name] = Held(version, value if self._keep_values else b"")
            for name in response.removed:
                held.pop(name, None)
                self.removed.append((response.type_url, name))
        if self.acknowledges:
            self.send(DeltaRequest(response.type_url, nonce=response.nonce, error=error))
