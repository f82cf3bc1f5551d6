"""The aggregated discovery service: gRPC streams admitted, served and counted.

Flow: stream -> first request -> `admit` (who is it, what may it see) -> `DeltaStream`.

Invariants: nothing is answered before `admit` has; every refusal has the gRPC status that says whether to try
again; a client that opens a stream and says nothing is dropped; nonces differ between streams.
Source: envoy/service/discovery/v3/ads.proto; metric names are istiod's.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from lateen.base.errors import DataError, PermissionDeniedError, UnavailableError
from lateen.runtime.logging import get_logger
from lateen.runtime.metrics import Metrics
from lateen.runtime.pace import Pace
from lateen.xds.events import Acknowledged, Event, Refused
from lateen.xds.index import SubscriptionIndex
from lateen.xds.messages import ADS_SERVICE, DELTA_METHOD, DeltaRequest, decode_delta_request
from lateen.xds.protocol import Response
from lateen.xds.resources import SHORT_NAMES
from lateen.xds.streams import DeltaStream, Viewer

log = get_logger("ads")

Context = grpc.aio.ServicerContext[bytes, bytes]

_FIRST_REQUEST_SECONDS = 15.0


@dataclass(frozen=True)
class Caller:
    """Whoever opened a stream: how it came, and what it showed."""

    metadata: tuple[tuple[str, str | bytes], ...] = field(repr=False)
    address: str
    is_encrypted: bool


Admit = Callable[[Caller, bytes], Awaitable[Viewer]]
"""Who is calling, with which `Node` bytes -> what it may see.

Raises PermissionDeniedError, DataError, or UnavailableError if that cannot be known now.
"""


@dataclass(eq=False)
class Connection:
    """A stream that was admitted, for status and metrics; times are seconds of the loop's clock."""

    caller: Caller
    stream: DeltaStream
    connected_at: float
    sent_at: dict[str, float] = field(default_factory=dict)
    """Type URL -> when the last response was handed over."""
    acknowledged_at: dict[str, float] = field(default_factory=dict)


class AdsServer:
    """Every ADS stream of this process."""

    def __init__(self, admit: Admit, index: SubscriptionIndex, metrics: Metrics, pace: Pace | None = None) -> None:
        self.connections: dict[DeltaStream, Connection] = {}
        self._admit = admit
        self._index = index
        self._pace = pace or Pace()
        self._numbers = itertools.count(1)
        self._nonce_prefix = secrets.token_hex(4)
        metrics.gauge("pilot_xds", "Connected ADS streams.").read_from(lambda: len(self.connections))
        self._pushes = metrics.counter("pilot_xds_pushes", "Responses sent.", "type")
        self._push_bytes = metrics.counter("pilot_xds_push_bytes", "Bytes of responses sent.", "type")
        self._rejects = metrics.counter("pilot_total_xds_rejects", "Responses refused by proxies.", "type")

    def build_handler(self, *, is_encrypted: bool) -> grpc.GenericRpcHandler[bytes, bytes]:
        """The handler to add to a server whose ports are all encrypted, or all not."""

        async def serve_delta(requests: AsyncIterator[bytes], context: Context) -> None:
            metadata = tuple((key, value) for key, value in context.invocation_metadata() or ())
            await self._serve_delta(Caller(metadata, context.peer(), is_encrypted), requests, context)

        methods = {DELTA_METHOD: grpc.stream_stream_rpc_method_handler(serve_delta)}
        return grpc.method_handlers_generic_handler(ADS_SERVICE, methods)

    def sent(self, stream: DeltaStream, response: Response) -> None:
        """Note a response that was handed to the transport."""
        name = _shorten(response.type_url)
        self._pushes.add(type=name)
        self._push_bytes.add(len(response.payload), type=name)
        self.connections[stream].sent_at[response.type_url] = asyncio.get_running_loop().time()

    def happened(self, stream: DeltaStream, event: Event) -> None:
        """Note what a client said."""
        connection = self.connections[stream]
        match event:
            case Acknowledged():
                connection.acknowledged_at[event.type_url] = asyncio.get_running_loop().time()
            case Refused():
                self._rejects.add(type=_shorten(event.type_url))
                log.warning(
                    "proxy refused its configuration",
                    peer=connection.caller.address,
                    type=_shorten(event.type_url),
                    resources=", ".join(list(event.suspects)[:5]),
                    reason=event.message,
                )
            case _:
                pass

    async def _serve_delta(self, caller: Caller, requests: AsyncIterator[bytes], context: Context) -> None:
        try:
            first = await _read_first(requests)
            if first is None:
                return
            viewer = await self._admit(caller, first.node)
            await self._run(caller, viewer, first, requests, context)
        except UnavailableError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
        except PermissionDeniedError as error:
            log.warning("stream refused", peer=caller.address, reason=error.message)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, error.message)
        except DataError as error:
            log.warning("stream ended: bad request", peer=caller.address, reason=error.message)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)

    async def _run(
        self,
        caller: Caller,
        viewer: Viewer,
        first: DeltaRequest,
        requests: AsyncIterator[bytes],
        context: Context,
    ) -> None:
        prefix = f"{self._nonce_prefix}-{next(self._numbers):x}-"
        stream = DeltaStream(viewer, self._index, self, self._pace, nonce_prefix=prefix)
        self.connections[stream] = Connection(caller, stream, asyncio.get_running_loop().time())
        try:
            await stream.run(first, requests, context.write)
        finally:
            del self.connections[stream]


async def _read_first(requests: AsyncIterator[bytes]) -> DeltaRequest | None:
    try:
        async with asyncio.timeout(_FIRST_REQUEST_SECONDS):
            async for data in requests:
                return decode_delta_request(data)
    except TimeoutError:
        raise DataError(f"no request within {_FIRST_REQUEST_SECONDS:g} s") from None
    return None


def _shorten(type_url: str) -> str:
    return SHORT_NAMES.get(type_url, "other").lower()
