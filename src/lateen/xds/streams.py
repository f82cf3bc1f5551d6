"""One delta stream: requests in, responses out, one writer.

Flow: request bytes -> `DeltaProtocol` -> `Need` -> the viewer's database -> response bytes.

What waits for a slow client is a set of marks, never a queue of responses: the next response is made when the
last one was taken, from the state of that moment. So a stream's memory is bounded by its subscriptions, and
nobody waits for anybody else's client.
Invariants: only the writer writes (gRPC breaks a stream that two tasks write to); the stream leaves the index
when it ends, however it ends. Istio pushes into a bounded channel per connection and drops what does not fit.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from typing import Protocol, TypeAlias

from lateen.runtime.pace import Pace
from lateen.xds.events import Acknowledged, Event, Refused, Stale, Subscribed, Unsubscribed
from lateen.xds.index import SubscriptionIndex
from lateen.xds.messages import DeltaRequest, decode_delta_request
from lateen.xds.protocol import DeltaProtocol, Response
from lateen.xds.resources import Resource, ResourceSet
from lateen.xds.subscription import Need

_WRITE_SECONDS = 2e-4
_BYTE_SECONDS = 2e-9
"""What gRPC takes of the loop's time for a message and for each of its bytes, measured."""


Value: TypeAlias = ResourceSet | Resource | None


class Viewer(Protocol):
    """What one proxy may see of the mesh."""

    def find_call(self, type_url: str, name: str | None) -> Hashable | None:
        """The call behind a name, or with None behind the whole type; None if this proxy gets nothing."""

    async def ask(self, calls: Iterable[Hashable | None]) -> list[Value]:
        """The value of each call, None for None; yields to others when that takes long."""


class Observer(Protocol):
    """Who wants to know what happens on streams."""

    def sent(self, stream: "DeltaStream", response: Response) -> None:
        """`response` was handed to the transport."""

    def happened(self, stream: "DeltaStream", event: Event) -> None:
        """The client said so."""


class DeltaStream:
    """A proxy's delta ADS stream, from its first request to its end."""

    def __init__(
        self, viewer: Viewer, index: SubscriptionIndex, observer: Observer, pace: Pace, *, nonce_prefix: str = ""
    ) -> None:
        self.protocol = DeltaProtocol(nonce_prefix=nonce_prefix)
        self.viewer = viewer
        self._index = index
        self._observer = observer
        self._pace = pace
        self._woken = asyncio.Event()

    def mark(self, type_url: str, name: str | None) -> None:
        """Look again at a name, or with None at a whole type: it may have changed."""
        self.protocol.mark(type_url, name)
        self._woken.set()

    async def run(
        self,
        first: DeltaRequest,
        requests: AsyncIterator[bytes],
        write: Callable[[bytes], Awaitable[object]],
    ) -> None:
        """Serve until the client ends the stream; raises MalformedRequest, and what `write` raises."""
        try:
            self._receive(first)
            writer = asyncio.create_task(self._write_all(write))
            reader = asyncio.create_task(self._read_all(requests))
            try:
                done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                reader.cancel()
                writer.cancel()
                await asyncio.gather(reader, writer, return_exceptions=True)
        finally:
            self._leave()

    async def _read_all(self, requests: AsyncIterator[bytes]) -> None:
        async for data in requests:
            await self._pace.map(lambda each: self._receive(decode_delta_request(each)), [data])

    async def _write_all(self, write: Callable[[bytes], Awaitable[object]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._pace.turn()
            self._woken.clear()
            step = self.protocol.next_step(loop.time())
            if step is None:
                await self._wait(loop)
                continue
            response = await self._answer(step, loop) if isinstance(step, Need) else step
            if response is not None:
                (data,) = await self._pace.map(Response.encode, [response])
                self._pace.charge(_WRITE_SECONDS + len(data) * _BYTE_SECONDS)
                await write(data)
                self._observer.sent(self, response)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        deadline = self.protocol.next_deadline(loop.time())
        try:
            async with asyncio.timeout_at(deadline):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _answer(self, need: Need, loop: asyncio.AbstractEventLoop) -> Response | None:
        whole_call = self.viewer.find_call(need.type_url, None)
        calls = await self._pace.map(lambda name: self.viewer.find_call(need.type_url, name) or whole_call, need.names)
        whole, *values = await self.viewer.ask([whole_call if need.whole else None, *calls])
        (response,) = await self._pace.map(lambda now: self._respond(need, whole, values, now), [loop.time()])
        return response

    def _respond(self, need: Need, whole: Value, values: list[Value], now: float) -> Response | None:
        assert whole is None or isinstance(whole, ResourceSet)
        found = {
            name: value.get(name) if isinstance(value, ResourceSet) else value
            for name, value in zip(need.names, values, strict=True)
        }
        return self.protocol.answer(need, whole, found, now)

    def _receive(self, request: DeltaRequest) -> None:
        for event in self.protocol.receive(request):
            match event:
                case Subscribed(type_url, names, whole):
                    for call, name in self._find_calls(type_url, names, whole=whole).items():
                        self._index.add(call, type_url, name, self)
                case Unsubscribed(type_url, names, _):
                    for call, name in self._find_calls(type_url, names, whole=False).items():
                        if name is not None:  # the whole type may serve other names, too
                            self._index.discard(call, self)
                case Acknowledged() | Refused() | Stale():
                    pass
            self._observer.happened(self, event)
        self._woken.set()

    def _find_calls(self, type_url: str, names: Iterable[str], *, whole: bool) -> dict[Hashable, str | None]:
        """Call -> name; names without a call of their own are looked up in the whole type."""
        whole_call = self.viewer.find_call(type_url, None)
        calls: dict[Hashable, str | None] = {}
        for name in names:
            call = self.viewer.find_call(type_url, name)
            if call is not None:
                calls[call] = name
            whole = whole or call is None
        if whole and whole_call is not None:
            calls[whole_call] = None
        return calls

    def _leave(self) -> None:
        for subscription in self.protocol.subscriptions.values():
            for call in self._find_calls(subscription.type_url, subscription.names, whole=True):
                self._index.discard(call, self)
