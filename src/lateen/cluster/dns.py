"""Cluster DNS for every pod: sockets of the node namespace, answers from the directory of Services.

Flow: packet -> answer given before, or `Query` -> `dns_records.answer` -> packet; the host's resolvers are asked for
names outside the cluster.
Invariants: bounded in every direction: queries under way outside, TCP connections, their idle time, answers kept.
What a packet holds never ends the server: what is no query gets no answer. Answers kept are forgotten at every change.
Source: the documents named in `dns_records` and `dns_messages`; RFC 7766 (TCP).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from dnslib import QTYPE, RCODE, DNSLabelError, DNSRecord

from lateen.cluster.dns_forwarding import Forwarder
from lateen.cluster.dns_messages import (
    Query,
    build_records,
    build_reply,
    decode_query,
    encode_reply,
    find_refusal,
)
from lateen.cluster.dns_records import Answer, Labels, answer, build_soa
from lateen.cluster.service_directory import ServiceDirectory
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import TaskSet

log = get_logger("cluster/dns")

Address = tuple[str, int]

_PACKET_BYTES = 4096
_PACKETS_PER_TURN = 64
_CACHE_ENTRIES = 4096
_QUERIES_OUTSIDE = 128
_CONNECTIONS = 128
_IDLE_SECONDS = 10.0


@dataclass(frozen=True)
class _Unfinished:
    """A reply that waits for what the resolvers outside say of a name."""

    query: Query
    reply: DNSRecord
    outside: Labels


class DnsServer:
    """Answers queries on any number of sockets."""

    def __init__(self, directory: ServiceDirectory, forwarder: Forwarder | None = None) -> None:
        self._directory = directory
        self._forwarder = forwarder or Forwarder()
        self._kept: dict[tuple[bytes, bool], bytes] = {}
        self._outside = TaskSet("dns-outside")
        self._connections: set[asyncio.StreamWriter] = set()

    def forget(self) -> None:
        """Drop answers given before: the directory changed."""
        self._kept.clear()

    async def serve(self, datagrams: Sequence[socket.socket], streams: Sequence[socket.socket]) -> None:
        """Answer until cancelled; closes the sockets."""
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._outside.close)
            for datagram in datagrams:
                stack.enter_context(datagram)
                loop.add_reader(datagram.fileno(), self._receive, datagram)
                stack.callback(loop.remove_reader, datagram.fileno())
            stack.callback(self._abort_connections)
            for stream in streams:
                stack.callback((await asyncio.start_server(self._serve_stream, sock=stream)).close)
            await asyncio.Event().wait()

    def _abort_connections(self) -> None:
        for writer in self._connections:
            writer.transport.abort()

    def _receive(self, datagram: socket.socket) -> None:
        for _ in range(_PACKETS_PER_TURN):
            try:
                packet, address = datagram.recvfrom(_PACKET_BYTES)
            except OSError:
                return  # nothing more to read, or an ICMP error about an earlier reply
            found = self._find(packet, datagram=True)
            if isinstance(found, bytes):
                _send(datagram, found, address)
            elif found is not None and len(self._outside) < _QUERIES_OUTSIDE:
                self._outside.start(self._send_later(found, datagram, address), name="query")
            elif found is not None:
                _send(datagram, _encode(found, datagram=True, rcode=RCODE.SERVFAIL), address)

    async def _send_later(self, unfinished: _Unfinished, datagram: socket.socket, address: Address) -> None:
        _send(datagram, await self._finish(unfinished, datagram=True), address)

    async def respond(self, packet: bytes, *, datagram: bool) -> bytes | None:
        """Return the response to a packet; None for what is no query."""
        found = self._find(packet, datagram=datagram)
        if isinstance(found, _Unfinished):
            return await self._finish(found, datagram=datagram)
        return found

    def _find(self, packet: bytes, *, datagram: bool) -> bytes | _Unfinished | None:
        key = (packet[2:], datagram)
        kept = self._kept.get(key)
        if kept is not None:
            return packet[:2] + kept
        query = decode_query(packet)
        if query is None:
            return None
        refusal = find_refusal(query)
        if refusal is not None or query.edns:
            return encode_reply(build_reply(query, rcode=refusal or RCODE.NOERROR), limit_bytes=None)
        found = answer(self._directory, query.labels, query.kind_name)
        if found.outside is not None:
            reply = build_reply(query, authoritative=False)
            reply.add_answer(*build_records(query, found.records))
            return _Unfinished(query, reply, found.outside)
        return self._encode_found(query, found, key)

    def _encode_found(self, query: Query, found: Answer, key: tuple[bytes, bool]) -> bytes:
        reply = build_reply(query, rcode=found.rcode, authoritative=True)
        records = build_records(query, found.records)
        shuffled = len(records) > 1 and all(record.rtype == QTYPE.A for record in records)
        if shuffled:
            random.shuffle(records)  # clients that take the first address spread over all
        reply.add_answer(*records)
        reply.add_ar(*build_records(query, found.additional))
        if all(record.rtype == QTYPE.CNAME for record in records):
            reply.add_auth(*build_records(query, [build_soa()]))
        packet = encode_reply(reply, limit_bytes=query.payload_bytes if key[1] else None)
        if not shuffled:
            if len(self._kept) >= _CACHE_ENTRIES:
                self._kept.clear()
            self._kept[key] = packet[2:]
        return packet

    async def _finish(self, unfinished: _Unfinished, *, datagram: bool) -> bytes:
        name = unfinished.query.name if not unfinished.reply.rr else _encode_labels(unfinished.outside)
        response = await self._forwarder.resolve(name, unfinished.query.kind)
        if response is None:
            return _encode(unfinished, datagram=datagram, rcode=RCODE.SERVFAIL)
        unfinished.reply.add_answer(*response.rr)
        unfinished.reply.add_auth(*response.auth)
        return _encode(unfinished, datagram=datagram, rcode=response.header.rcode)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while len(self._connections) <= _CONNECTIONS:
                async with asyncio.timeout(_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    if size > _PACKET_BYTES:
                        return
                    response = await self.respond(await reader.readexactly(size), datagram=False)
                    if response is None:
                        return
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        except (EOFError, OSError, TimeoutError):
            return
        finally:
            self._connections.discard(writer)
            writer.close()


def _encode(unfinished: _Unfinished, *, datagram: bool, rcode: int) -> bytes:
    unfinished.reply.header.rcode = rcode
    limit = unfinished.query.payload_bytes if datagram else None
    try:
        return encode_reply(unfinished.reply, limit_bytes=limit)
    except DNSLabelError as error:
        log.warning("an answer from outside cannot be passed on", error=error)
        return encode_reply(build_reply(unfinished.query, rcode=RCODE.SERVFAIL), limit_bytes=limit)


def _encode_labels(labels: Labels) -> tuple[bytes, ...]:
    return tuple(label.encode("latin-1", "replace") for label in labels)


def _send(datagram: socket.socket, packet: bytes, address: Address) -> None:
    with contextlib.suppress(OSError):  # the client is gone, or asks faster than it reads
        datagram.sendto(packet, address)
