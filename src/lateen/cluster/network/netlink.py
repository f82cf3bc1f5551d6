"""Netlink wire format and a blocking socket that sends requests and raises the kernel's refusals.

Flow: attributes (type -> bytes) -> message bytes -> kernel -> acknowledgement or `NetlinkError`.
Invariants: messages and attributes are padded to 4 bytes; `exchange` returns only after the kernel answered the
last message, so what it reports as done is done.
Source: Linux include/uapi/linux/netlink.h, RFC 3549. Standard library only: node-init and pod-init import it
before any thread exists (docs/adr: rtnetlink is encoded here because pyroute2 costs 0.4 s and an event loop).
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF
NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_BYTES = 1 << 18


class NetlinkError(OSError):
    """The kernel refused a request; `position` is the index of the refused message within its exchange."""

    def __init__(self, number: int, position: int) -> None:
        super().__init__(number, os.strerror(number))
        self.position = position


def encode_attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def encode_nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute whose payload is other attributes."""
    return encode_attribute(kind | NLA_F_NESTED, b"".join(attributes))


def encode_text(kind: int, text: str) -> bytes:
    """Return a NUL-terminated string attribute."""
    return encode_attribute(kind, text.encode() + b"\0")


def encode_message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Return one message, padded."""
    size = _HEADER.size + len(payload)
    return _HEADER.pack(size, kind, flags, sequence, 0) + payload + b"\0" * (-size % 4)


def decode_attributes(data: bytes) -> dict[int, bytes]:
    """Return attribute type -> payload (the last one wins; use `iterate_attributes` for lists)."""
    return dict(iterate_attributes(data))


def iterate_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type without flag bits, payload) in wire order."""
    offset = 0
    while offset + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < 4:
            return
        yield kind & NLA_TYPE_MASK, data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def _iterate_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        size, kind, _flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if size < _HEADER.size:
            return
        yield kind, sequence, data[offset + _HEADER.size : offset + size]
        offset += (size + 3) & ~3


class NetlinkSocket:
    """A blocking netlink socket of the calling process's network namespace."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> "NetlinkSocket":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def request(self, kind: int, flags: int, payload: bytes) -> None:
        """Send one request and wait for its acknowledgement."""
        self._sequence += 1
        self._socket.send(encode_message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._sequence, payload))
        self._wait(self._sequence, self._sequence)

    def exchange(self, data: bytes, first: int, last: int) -> None:
        """Send already encoded messages numbered `first`..`last` and wait for the answer to the last one.

        The first refusal, in message order, is raised after all answers came in.
        """
        self._socket.send(data)
        self._wait(first, last)

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """Return the payloads of a dump request."""
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        self._socket.send(encode_message(kind, flags, self._sequence, payload))
        found: list[bytes] = []
        while True:
            for answer, _sequence, body in _iterate_messages(self._socket.recv(_RECEIVE_BYTES)):
                if answer == NLMSG_DONE:
                    return found
                if answer == NLMSG_ERROR:
                    raise NetlinkError(-struct.unpack_from("=i", body)[0], 0)
                found.append(body)

    def _wait(self, first: int, last: int) -> None:
        refused: list[tuple[int, int]] = []
        finished = False
        while not finished:
            for kind, sequence, body in _iterate_messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind != NLMSG_ERROR:
                    continue
                number = -struct.unpack_from("=i", body)[0]
                if number:
                    refused.append((sequence, number))
                finished = finished or sequence == last or bool(number and sequence == first)
        if refused:
            sequence, number = min(refused)
            raise NetlinkError(number, sequence - first)


def join(parts: Iterable[bytes]) -> bytes:
    """Return the concatenation of encoded attributes or messages."""
    return b"".join(parts)
