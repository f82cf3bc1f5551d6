"""How a node and its agent talk: small messages, with open sockets beside them, over one unix stream socket.

Flow: the node registers pods (`AddPod` with the pod's listening socket for port 15020, `RemovePod`); the
agent asks for sockets connected from inside a pod (`Connect`), for Envoy's admin port and for the app's
probes. Both sides may ask; every request gets one reply, in any order. Wire: 4 bytes length, big endian,
then JSON `{"id", "descriptors", "body"}`; the message's descriptors travel as SCM_RIGHTS with its
first bytes, in order (unix(7): a read never crosses such a boundary, so they are claimed by count as
messages complete). The agent keeps nothing across its own death: `AgentClient` registers all pods again
when it is back. Istio has no such protocol: its agent lives inside each pod.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from lateen.base.errors import LateenError, UnavailableError
from lateen.runtime.logging import get_logger

log = get_logger("agent_control")

_HEADER = struct.Struct("!I")
_LARGEST_MESSAGE_BYTES = 4 << 20
_READ_BYTES = 1 << 16
# The kernel's SCM_MAX_FD; a message of ours carries at most one.
_MOST_DESCRIPTORS = 253


class AddPod(msgspec.Struct, frozen=True, kw_only=True, tag="add_pod"):
    """Serve this pod from now on. Carries one socket: the listener for port 15020 in the pod's network
    namespace.

    `probes` maps a path on 15020 (`/app-health/<container>/livez`) to the Kubernetes probe that it stands
    for, with ports as numbers, as in Istio's ISTIO_KUBE_APP_PROBERS. `ads_socket` is made by the agent,
    0600, its folder 0700 if it is absent. `certificate_seconds` is the lifetime of its certificates, 0 for
    the agent's own choice.
    """

    uid: str
    name: str
    namespace: str
    ip: str
    service_account: str
    ads_socket: str
    token_file: str
    root_cert_file: str
    node_name: str = "lateen"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    probes: dict[str, dict[str, Any]] = {}
    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    proxy_type: str = "sidecar"
    certificate_seconds: float = 0.0


class RemovePod(msgspec.Struct, frozen=True, kw_only=True, tag="remove_pod"):
    """Forget this pod: its socket, its keys and its listener go."""

    uid: str


class Connect(msgspec.Struct, frozen=True, kw_only=True, tag="connect"):
    """Asked by the agent: a TCP socket connected from inside the pod. The reply carries it.

    `source` is the address to bind first; probes of the app come from 127.0.0.6, which the pod's rules let
    pass by Envoy.
    """

    uid: str
    port: int
    host: str = "127.0.0.1"
    source: str = ""
    timeout_seconds: float = 5.0


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The request was fulfilled; a reply to `Connect` carries the socket."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The request could not be fulfilled, and why."""

    message: str


Request = AddPod | RemovePod | Connect
Handler = Callable[[Request, list[socket.socket]], Awaitable[Sequence[socket.socket]]]


class Frame(msgspec.Struct, frozen=True):
    """One message on the wire: the asker's number, the count of descriptors beside it, the message."""

    id: int
    descriptors: int
    body: AddPod | RemovePod | Connect | Done | Failed


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Frame)


def encode_frame(frame: Frame) -> bytes:
    """Return the frame with its length in front."""
    payload = _ENCODER.encode(frame)
    return _HEADER.pack(len(payload)) + payload


class FrameDecoder:
    """Bytes and descriptors in, whole frames with their descriptors out; does no I/O."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Iterable[int]) -> list[tuple[Frame, list[int]]]:
        """Return the frames that are now complete; raises `UnavailableError` for what is not our protocol."""
        self._buffer += data
        self._descriptors.extend(descriptors)
        frames = []
        while (frame := self._take()) is not None:
            if frame.descriptors > len(self._descriptors):
                raise UnavailableError("agent control: a message came without its descriptors")
            frames.append((frame, [self._descriptors.popleft() for _ in range(frame.descriptors)]))
        return frames

    def close(self) -> None:
        """Close descriptors that no message claimed."""
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _take(self) -> Frame | None:
        if len(self._buffer) < _HEADER.size:
            return None
        (size,) = _HEADER.unpack_from(self._buffer)
        if size > _LARGEST_MESSAGE_BYTES:
            raise UnavailableError(f"agent control: a message of {size} bytes")
        if len(self._buffer) < _HEADER.size + size:
            return None
        payload = bytes(self._buffer[_HEADER.size : _HEADER.size + size])
        del self._buffer[: _HEADER.size + size]
        try:
            return _DECODER.decode(payload)
        except msgspec.DecodeError as error:
            raise UnavailableError(f"agent control: not a message: {error}") from error


class Link:
    """One connection between node and agent; either side asks with `ask` and answers through its handler."""

    def __init__(self, connection: socket.socket, handler: Handler) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._handler = handler
        self._decoder = FrameDecoder()
        self._waiting: dict[int, asyncio.Future[list[socket.socket]]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._last_id = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._closed

    async def ask(self, request: Request, sockets: Sequence[socket.socket] = ()) -> list[socket.socket]:
        """Return the sockets of the reply; raises `UnavailableError` when the peer refuses or goes away."""
        if self._closed:
            raise UnavailableError("agent control: the connection is closed")
        self._last_id += 1
        number = self._last_id
        reply: asyncio.Future[list[socket.socket]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            await self._send(Frame(number, len(sockets), request), sockets)
            return await reply
        finally:
            self._waiting.pop(number, None)

    async def run(self) -> None:
        """Read until the peer closes, then fail what still waits; cancelling closes the connection."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                data, descriptors = await _receive(loop, self._socket)
                if not data:
                    return
                for frame, claimed in self._decoder.feed(data, descriptors):
                    self._accept(frame, [socket.socket(fileno=number) for number in claimed])
        except ConnectionError:
            return
        finally:
            await self._close()

    def _accept(self, frame: Frame, sockets: list[socket.socket]) -> None:
        if isinstance(frame.body, Done | Failed):
            reply = self._waiting.pop(frame.id, None)
            if reply is None or reply.done():
                _close_all(sockets)
            elif isinstance(frame.body, Failed):
                _close_all(sockets)
                reply.set_exception(UnavailableError(frame.body.message))
            else:
                reply.set_result(sockets)
            return
        task = asyncio.get_running_loop().create_task(self._answer(frame.id, frame.body, sockets))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, number: int, request: Request, sockets: list[socket.socket]) -> None:
        try:
            answer = list(await self._handler(request, sockets))
            reply = Frame(number, len(answer), Done())
        except (LateenError, OSError) as error:
            answer, reply = [], Frame(number, 0, Failed(message=str(error)))
        except Exception as error:
            log.error("request failed", request=type(request).__name__, exc_info=error)
            answer, reply = [], Frame(number, 0, Failed(message="internal error of the peer; see its log"))
        try:
            with contextlib.suppress(OSError, UnavailableError):
                await self._send(reply, answer)
        finally:
            _close_all(answer)

    async def _send(self, frame: Frame, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        data = memoryview(encode_frame(frame))
        rights = array.array("i", [each.fileno() for each in sockets])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if sockets else []
        async with self._sending:
            while data:
                if self._closed:
                    raise UnavailableError("agent control: the connection is closed")
                try:
                    sent = self._socket.sendmsg([data], ancillary)
                except BlockingIOError:
                    await _writable(loop, self._socket)
                    continue
                except OSError as error:
                    raise UnavailableError(f"agent control: {error.strerror}") from error
                data, ancillary = data[sent:], []

    async def _close(self) -> None:
        self._closed = True
        for task in self._answering:
            task.cancel()
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(UnavailableError("agent control: the peer went away"))
        self._decoder.close()
        self._socket.close()
        await asyncio.gather(*self._answering, return_exceptions=True)


async def _receive(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> tuple[bytes, list[int]]:
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, _READ_BYTES, _MOST_DESCRIPTORS)
            return data, descriptors
        except BlockingIOError:
            await _ready(loop.add_reader, loop.remove_reader, connection)


async def _writable(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    await _ready(loop.add_writer, loop.remove_writer, connection)


async def _ready(add: Callable[..., None], remove: Callable[..., Any], connection: socket.socket) -> None:
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    add(connection, wake)
    try:
        await waiter
    finally:
        remove(connection)


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()
