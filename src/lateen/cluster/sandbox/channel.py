"""Framed JSON messages with file descriptors over a unix stream socket, for single-threaded processes.

Flow: message (dict) + descriptors -> 4-byte length, JSON -> message + descriptors. A message that carries
descriptors says how many in its field `descriptors`; they are taken from those received, in order.
Invariants: the kernel keeps descriptors in order with the bytes they were sent with, so they are never there later
than the message that counts them. A peer that closes ends the channel (`receive` returns None).
`Frames` is the sans-I/O half, shared with the asyncio side (`cluster.node.sandbox`).
"""

import array
import json
import os
import socket
import struct
from collections import deque
from typing import Any

Message = dict[str, Any]

LENGTH = struct.Struct("=I")
MAX_DESCRIPTORS = 16
ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
RECEIVE_BYTES = 1 << 16


def encode_frame(message: Message, descriptors: int = 0) -> bytes:
    """Return the bytes of one message that travels with that many descriptors."""
    body = json.dumps({**message, "descriptors": descriptors} if descriptors else message).encode()
    return LENGTH.pack(len(body)) + body


def encode_descriptors(descriptors: list[int]) -> list[tuple[int, int, bytes]]:
    """Return the ancillary data of sendmsg for these descriptors."""
    if not descriptors:
        return []
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]


def decode_descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors in recvmsg's ancillary data."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


class Frames:
    """Bytes and descriptors in, messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: list[int]) -> list[tuple[Message, list[int]]]:
        """Return the messages completed by this data, each with its descriptors."""
        self._buffer += data
        self._descriptors.extend(descriptors)
        complete: list[tuple[Message, list[int]]] = []
        while len(self._buffer) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer)
            if len(self._buffer) < LENGTH.size + size:
                break
            message = json.loads(self._buffer[LENGTH.size : LENGTH.size + size])
            del self._buffer[: LENGTH.size + size]
            count = message.pop("descriptors", 0)
            complete.append((message, [self._descriptors.popleft() for _ in range(count)]))
        return complete

    def close(self) -> None:
        """Close descriptors that no message claimed."""
        while self._descriptors:
            os.close(self._descriptors.popleft())


class Channel:
    """One end of a blocking channel; reading never blocks longer than the kernel has bytes (poll first)."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._frames = Frames()
        self._unread: deque[tuple[Message, list[int]]] = deque()

    def fileno(self) -> int:
        """Descriptor to poll."""
        return self._socket.fileno()

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Send one message; the descriptors stay open here."""
        carried = descriptors or []
        data = encode_frame(message, len(carried))
        sent = self._socket.sendmsg([data], encode_descriptors(carried))
        if sent < len(data):
            self._socket.sendall(data[sent:])

    def receive(self) -> list[tuple[Message, list[int]]] | None:
        """Return the messages that one read completes (maybe none), or None when the peer is gone."""
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(
                RECEIVE_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None
        if not data:
            return None
        return self._frames.feed(data, decode_descriptors(ancillary))

    def wait(self) -> Message | None:
        """Return the next message, however long it takes; for dialogues that pass no descriptors."""
        while not self._unread:
            messages = self.receive()
            if messages is None:
                return None
            self._unread.extend(messages)
        return self._unread.popleft()[0]

    def close(self) -> None:
        """Close this end."""
        self._frames.close()
        self._socket.close()


def open_channel_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends, neither inherited across execve."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
