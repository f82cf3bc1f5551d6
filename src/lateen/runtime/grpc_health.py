"""One `grpc.health.v1.Health/Check` over a connected socket, with as much HTTP/2 as that takes.

Flow: socket -> preface, SETTINGS, HEADERS, DATA -> frames read until the answer's DATA -> serving or not. Written by
hand because gRPC's client cannot use a socket that somebody else connected (the pod's, from inside its namespace).
Source: RFC 9113 (frames), RFC 7541 section 6.2.2 (literals that need no table), gRPC over HTTP/2, health.proto.
"""

from __future__ import annotations

import asyncio

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_SERVING = b"\x08\x01"
_MOST_FRAME_BYTES = 1 << 14


async def check_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: str, host: str) -> bool:
    """Return whether the server says SERVING; raises OSError or EOFError when it speaks no gRPC."""
    headers = b"".join(
        _literal(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", host),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "kube-probe/1.34"),
        )
    )
    name = service.encode()
    request = (b"\x0a" + bytes([len(name)]) + name) if name else b""
    body = b"\0" + len(request).to_bytes(4, "big") + request
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
    writer.write(_frame(_HEADERS, _END_HEADERS, 1, headers) + _frame(_DATA, _END_STREAM, 1, body))
    await writer.drain()
    return await _read_answer(reader, writer)


async def _read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    answer = b""
    while True:
        head = await reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if size > _MOST_FRAME_BYTES:
            raise ConnectionError("no HTTP/2 frame")
        payload = await reader.readexactly(size)
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _DATA:
            answer += payload
        elif kind in (_RST, _GOAWAY):
            return False
        if len(answer) >= 5:
            wanted = 5 + int.from_bytes(answer[1:5], "big")
            if len(answer) >= wanted:
                return answer[5:wanted] == _SERVING
        if kind == _HEADERS and flags & _END_STREAM:
            return False


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name: str, value: str) -> bytes:
    """A header neither indexed nor Huffman-coded; lengths here are below 127."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
