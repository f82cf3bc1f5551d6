"""ADS relayed: between a pod's Envoy and discovery, as bytes, under the pod's own name and token.

Flow: Envoy's requests -> node stamped -> discovery; discovery's responses -> Envoy, untouched.
Invariants: one stream down is one stream up; when discovery goes away Envoy's stream ends with it, so that
Envoy opens another and states what it has (`initial_resource_versions`); that one waits here until
discovery is back, so Envoy's own back-off never grows. Flow control passes through: a slow Envoy slows its
stream only. Source: Istio pkg/istio-agent/xds_proxy. We differ: Istio's answers some types itself; here
SDS is a service of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from lateen.agent.node_field import DELTA_NODE_FIELD, STATE_NODE_FIELD, NodeStamp
from lateen.agent.upstream import Upstream
from lateen.base.errors import DataError, UnavailableError
from lateen.runtime.agent_control import AddPod
from lateen.runtime.grpc import Stream
from lateen.runtime.logging import get_logger
from lateen.xds.messages import ADS_SERVICE, DELTA_METHOD, STATE_METHOD

log = get_logger("agent/relay")

Context = grpc.aio.ServicerContext[bytes, bytes]


class AdsRelay:
    """The aggregated discovery service on one pod's socket."""

    def __init__(self, pod: AddPod, upstream: Upstream) -> None:
        self._pod = pod
        self._upstream = upstream
        self._stamp = NodeStamp(pod)

    def build_handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the handler to add to the pod's server."""
        handlers = {DELTA_METHOD: self.relay_delta, STATE_METHOD: self.relay_state}
        methods = {name: grpc.stream_stream_rpc_method_handler(each) for name, each in handlers.items()}
        return grpc.method_handlers_generic_handler(ADS_SERVICE, methods)

    async def relay_delta(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Relay one incremental stream."""
        await self._relay(DELTA_METHOD, DELTA_NODE_FIELD, requests, context)

    async def relay_state(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Relay one state-of-the-world stream."""
        await self._relay(STATE_METHOD, STATE_NODE_FIELD, requests, context)

    async def _relay(self, method: str, field: int, requests: AsyncIterator[bytes], context: Context) -> None:
        try:
            token = await asyncio.to_thread(_read_token, Path(self._pod.token_file))
            async with self._upstream.open_stream(f"/{ADS_SERVICE}/{method}", token) as stream:
                await self._pump(stream, field, requests, context)
        except grpc.aio.AioRpcError as error:
            log.warning("discovery ended the stream", pod=self._pod.name, code=error.code().name)
            await context.abort(error.code(), error.details() or "discovery ended the stream")
        except DataError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        except UnavailableError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)

    async def _pump(self, stream: Stream, field: int, requests: AsyncIterator[bytes], context: Context) -> None:
        upwards = asyncio.create_task(self._send(stream, field, requests))
        downwards = asyncio.create_task(_receive(stream, context))
        try:
            done, _ = await asyncio.wait((upwards, downwards), return_when=asyncio.FIRST_COMPLETED)
            if downwards not in done and upwards.exception() is None:
                await downwards
            for task in done:
                task.result()
        finally:
            upwards.cancel()
            downwards.cancel()
            await asyncio.gather(upwards, downwards, return_exceptions=True)

    async def _send(self, stream: Stream, field: int, requests: AsyncIterator[bytes]) -> None:
        first = True
        async for request in requests:
            await stream.write(self._stamp.stamp(request, field, first=first))
            first = False
        await stream.done_writing()


async def _receive(stream: Stream, context: Context) -> None:
    async for response in stream:
        await context.write(response)
    raise UnavailableError("discovery ended the stream")


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise UnavailableError(f"the pod's token cannot be read: {error.strerror}") from error
