"""SDS for one pod: `DeltaSecrets` and `StreamSecrets`, answered from the agent's memory.

Flow: request bytes -> session (names, versions that Envoy has) -> response bytes, now and whenever the
store changes. Invariants: before the first certificate a stream waits, it is never told that the secret
does not exist; a version that Envoy states, also after a reconnection, is not sent again; what Envoy
refused is not sent again until it changes. Source: envoy/service/secret/v3/sds.proto; Envoy's xDS protocol
page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import grpc
from google.protobuf.message import DecodeError

from lateen.agent.secrets import SecretStore
from lateen.base.errors import DataError
from lateen.envoy.messages import message_class
from lateen.runtime.logging import get_logger
from lateen.xds.messages import decode_delta_request, encode_delta_response
from lateen.xds.resources import SECRET, ResourceSet, encode_field
from lateen.xds.subscription import Subscription

log = get_logger("agent/sds")

SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"

Context = grpc.aio.ServicerContext[bytes, bytes]


class Session(Protocol):
    """What one stream wants and has; does no I/O."""

    def receive(self, body: bytes) -> None:
        """Take a request; raises `DataError` for what is none."""

    def respond(self, secrets: ResourceSet) -> bytes | None:
        """Return the response that is due with these secrets, None if Envoy has all it asked for."""


class DeltaSession:
    """The incremental variant of a stream."""

    def __init__(self) -> None:
        self._subscription: Subscription | None = None
        self._answered: ResourceSet | None = None
        self._responses = 0

    def receive(self, body: bytes) -> None:
        """Take a DeltaDiscoveryRequest."""
        request = decode_delta_request(body)
        _check_type(request.type_url)
        if request.error is not None:
            log.error("Envoy refuses a secret", reason=request.error)
        if self._subscription is None:
            self._subscription = Subscription(SECRET, request.subscribe, request.unsubscribe, request.versions)
        else:
            self._subscription.change(request.subscribe, request.unsubscribe)

    def respond(self, secrets: ResourceSet) -> bytes | None:
        """Return the DeltaDiscoveryResponse that is due."""
        subscription = self._subscription
        if subscription is None or not secrets:
            return None
        if secrets != self._answered:
            self._answered = secrets
            for name in (None, *subscription.names):
                subscription.mark(name)
        if not subscription.is_due:
            return None
        need = subscription.take_need()
        draft = subscription.answer(need, secrets, {name: secrets.get(name) for name in need.names})
        if draft is None:
            return None
        self._responses += 1
        return encode_delta_response(SECRET, str(self._responses), draft.payload, draft.removed)


class StateSession:
    """The state-of-the-world variant of a stream: every response holds all the names asked for."""

    def __init__(self) -> None:
        self._names: frozenset[str] | None = None
        self._version = ""
        self._responses = 0

    def receive(self, body: bytes) -> None:
        """Take a DiscoveryRequest; one that answers an older response is stale and changes nothing."""
        try:
            request = message_class("envoy.service.discovery.v3.DiscoveryRequest").FromString(body)
        except DecodeError as error:
            raise DataError("not a DiscoveryRequest") from error
        _check_type(request.type_url)
        if request.HasField("error_detail"):
            log.error("Envoy refuses a secret", reason=request.error_detail.message)
        if self._names is None:
            self._version = request.version_info
        elif request.response_nonce != str(self._responses):
            return
        names = frozenset(request.resource_names)
        if self._names is not None and names - self._names:
            self._version = ""
        self._names = names

    def respond(self, secrets: ResourceSet) -> bytes | None:
        """Return the DiscoveryResponse that is due."""
        if self._names is None or not secrets:
            return None
        wanted = ResourceSet(resource for name, resource in secrets.items() if name in self._names)
        if wanted.version == self._version or not wanted:
            return None
        self._version = wanted.version
        self._responses += 1
        return (
            encode_field(1, wanted.version.encode())
            + wanted.any_fields
            + encode_field(4, SECRET.encode())
            + encode_field(5, str(self._responses).encode())
        )


class SecretService:
    """The gRPC service on one pod's socket."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    def build_handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the handler to add to the pod's server."""
        handlers = {"DeltaSecrets": self.delta_secrets, "StreamSecrets": self.stream_secrets}
        methods = {name: grpc.stream_stream_rpc_method_handler(each) for name, each in handlers.items()}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def delta_secrets(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Serve one incremental stream until Envoy ends it."""
        await self._serve(DeltaSession(), requests, context)

    async def stream_secrets(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Serve one state-of-the-world stream until Envoy ends it."""
        await self._serve(StateSession(), requests, context)

    async def _serve(self, session: Session, requests: AsyncIterator[bytes], context: Context) -> None:
        bell = asyncio.Event()
        reading = asyncio.create_task(_read(session, requests, bell))
        try:
            with self._store.ring(bell):
                while not reading.done():
                    bell.clear()
                    if (response := session.respond(self._store.current)) is not None:
                        await context.write(response)
                    await bell.wait()
            await reading
        except DataError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        finally:
            reading.cancel()


async def _read(session: Session, requests: AsyncIterator[bytes], bell: asyncio.Event) -> None:
    try:
        async for body in requests:
            session.receive(body)
            bell.set()
    finally:
        bell.set()


def _check_type(type_url: str) -> None:
    if type_url not in (SECRET, ""):
        raise DataError(f"{type_url} is not served here, only secrets")
