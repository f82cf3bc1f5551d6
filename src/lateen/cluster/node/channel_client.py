"""Requests and answers over a channel to node-init or pod-init, in any order, for asyncio.

Flow: request + descriptors -> frame -> answer (result and descriptors, or `SandboxError`); events -> callback.
Invariants: when the peer is gone every pending and later request raises, `closed` is set, and the event `closed` is
told. Descriptors sent are duplicated, so that the caller may close his at once; those received are the caller's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from lateen.base.errors import UnavailableError
from lateen.cluster.sandbox.channel import (
    ANCILLARY_BYTES,
    RECEIVE_BYTES,
    Frames,
    Message,
    decode_descriptors,
    encode_descriptors,
    encode_frame,
)

EventHandler = Callable[[Message], None]


class SandboxError(UnavailableError):
    """A step of making or running a pod was refused by the kernel, or the pod is gone."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.step = step
        self.number = number


class ChannelClient:
    """Requests and answers over one channel, in any order."""

    def __init__(self, end: socket.socket, on_event: EventHandler) -> None:
        end.setblocking(False)
        self._socket = end
        self._frames = Frames()
        self._pending: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}
        self._next = 1
        self._outgoing: list[tuple[memoryview, list[int]]] = []
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end.fileno(), self._readable)
        self.closed = asyncio.Event()

    async def request(
        self, operation: str, descriptors: tuple[int, ...] = (), **fields: Any
    ) -> tuple[Message, list[int]]:
        """Return (result, descriptors); raises SandboxError. The descriptors sent stay the caller's."""
        answer = self.begin(operation, descriptors, **fields)[1]
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                # The answer came in the moment that its reader was cancelled: nobody else can close these.
                _close_all(answer.result()[1])
            raise

    def begin(
        self, operation: str, descriptors: tuple[int, ...] = (), **fields: Any
    ) -> tuple[int, asyncio.Future[tuple[Message, list[int]]]]:
        """Send a request at once; returns its number and the future answer."""
        answer: asyncio.Future[tuple[Message, list[int]]] = self._loop.create_future()
        number = self._next
        self._next += 1
        if self.closed.is_set():
            answer.set_exception(SandboxError(operation, errno.ESRCH))
            return number, answer
        self._pending[number] = answer
        frame = encode_frame({"id": number, "op": operation, **fields}, len(descriptors))
        # Duplicates, since the caller may close his before the socket takes them.
        self._outgoing.append((memoryview(frame), [os.dup(each) for each in descriptors]))
        self._writable()
        return number, answer

    def close(self) -> None:
        """End the channel: its peer exits."""
        if self.closed.is_set():
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._frames.close()
        for _data, descriptors in self._outgoing:
            _close_all(descriptors)
        self._outgoing.clear()
        self.closed.set()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(SandboxError("wait for an answer", errno.ESRCH))
        self._pending.clear()
        self._on_event({"event": "closed"})

    def _writable(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                sent = self._socket.sendmsg([data], encode_descriptors(descriptors))
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._writable)
                return
            except OSError:
                self.close()
                return
            _close_all(descriptors)
            self._outgoing[0] = (data[sent:], [])
            if sent == len(data):
                del self._outgoing[0]
        self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(
                RECEIVE_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        if not data:
            self.close()
            return
        for message, descriptors in self._frames.feed(data, decode_descriptors(ancillary)):
            self._dispatch(message, descriptors)

    def _dispatch(self, message: Message, descriptors: list[int]) -> None:
        if "event" in message:
            self._on_event(message)
            return
        answer = self._pending.pop(message["id"], None)
        if answer is None or answer.done():
            _close_all(descriptors)
        elif "error" in message:
            answer.set_exception(SandboxError(message["error"]["step"], message["error"]["errno"]))
        else:
            answer.set_result((message["result"], descriptors))


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
