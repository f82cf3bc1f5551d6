"""Names outside the cluster: asked of the host's resolvers, from the host's network.

Flow: (name, type) -> cache -> each nameserver of /etc/resolv.conf in turn, UDP, then TCP if truncated -> response.
Invariants: every try has a deadline; a response counts only with our random id and our question, from the address
that was asked (the socket is connected); the cache is bounded, and remembers failures shortly, so that a machine
without a network answers SERVFAIL at once.
Source: RFC 1035, 2308, 6891; resolv.conf(5).
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnslib import EDNS0, RCODE, DNSError, DNSHeader, DNSQuestion, DNSRecord

from lateen.cluster.dns_messages import PAYLOAD_BYTES, Name

RESOLV_CONF = Path("/etc/resolv.conf")
_PORT = 53
_TRY_SECONDS = 1.5
_MOST_RESOLVERS = 3
_CACHE_ENTRIES = 1024
_LONGEST_KEPT_SECONDS = 60
_FAILURE_KEPT_SECONDS = 5


@dataclass(frozen=True)
class _Kept:
    until: float
    response: DNSRecord | None


def parse_resolvers(text: str) -> tuple[tuple[str, int], ...]:
    """Return the addresses of resolv.conf's nameservers."""
    words = [line.split() for line in text.splitlines()]
    found = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return tuple((address, _PORT) for address in found[:_MOST_RESOLVERS])


def read_resolvers() -> tuple[tuple[str, int], ...]:
    """Return the host's resolvers as they are now; none when the file cannot be read."""
    try:
        return parse_resolvers(RESOLV_CONF.read_text(errors="replace"))
    except OSError:
        return ()


class Forwarder:
    """Resolves names by asking others; keeps what they said."""

    def __init__(self, resolvers: Callable[[], Sequence[tuple[str, int]]] = read_resolvers) -> None:
        self._resolvers = resolvers
        self._cache: dict[tuple[Name, int], _Kept] = {}

    async def resolve(self, name: Name, kind: int) -> DNSRecord | None:
        """Return a response whose TTLs say how long it holds from now; None when nobody answered."""
        key = (tuple(label.lower() for label in name), kind)
        now = asyncio.get_running_loop().time()
        kept = self._cache.pop(key, None)
        if kept is None or kept.until <= now:
            response = await self._ask(name, kind)
            now = asyncio.get_running_loop().time()
            kept = _Kept(now + _find_lifetime(response), response)
            while len(self._cache) >= _CACHE_ENTRIES:
                del self._cache[next(iter(self._cache))]
        self._cache[key] = kept
        if kept.response is None:
            return None
        for record in (*kept.response.rr, *kept.response.auth):
            record.ttl = min(record.ttl, max(0, round(kept.until - now)))
        return kept.response

    async def _ask(self, name: Name, kind: int) -> DNSRecord | None:
        for resolver in self._resolvers():
            query = DNSRecord(DNSHeader(id=random.randrange(1 << 16), rd=1, qr=0), q=DNSQuestion(list(name), kind))
            query.add_ar(EDNS0(udp_len=PAYLOAD_BYTES))
            try:
                async with asyncio.timeout(_TRY_SECONDS):
                    response = await _exchange_datagrams(resolver, query)
                    if response.header.tc:
                        response = await _exchange_over_stream(resolver, query)
            except (OSError, TimeoutError, EOFError):
                continue
            if response.header.rcode in (RCODE.NOERROR, RCODE.NXDOMAIN):
                return response
        return None


def _find_lifetime(response: DNSRecord | None) -> float:
    if response is None:
        return _FAILURE_KEPT_SECONDS
    times = [record.ttl for record in (*response.rr, *response.auth)]
    return min([_LONGEST_KEPT_SECONDS, *times]) if times else _FAILURE_KEPT_SECONDS


async def _exchange_datagrams(resolver: tuple[str, int], query: DNSRecord) -> DNSRecord:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in resolver[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as opened:
        opened.connect(resolver)
        opened.send(query.pack())
        while True:
            response = _decode_response(await loop.sock_recv(opened, 1 << 16), query)
            if response is not None:
                return response


async def _exchange_over_stream(resolver: tuple[str, int], query: DNSRecord) -> DNSRecord:
    reader, writer = await asyncio.open_connection(*resolver)
    try:
        packet = query.pack()
        writer.write(len(packet).to_bytes(2, "big") + packet)
        size = int.from_bytes(await reader.readexactly(2), "big")
        response = _decode_response(await reader.readexactly(size), query)
    finally:
        writer.close()
    if response is None:
        raise EOFError("not the answer to our question")
    return response


def _decode_response(packet: bytes, query: DNSRecord) -> DNSRecord | None:
    """Return the packet as a response to the query, None when it is something else."""
    try:
        response = DNSRecord.parse(packet)
    except (DNSError, ValueError, RecursionError):
        return None  # dnslib follows a chain of compression pointers by recursion
    if response.header.id != query.header.id or not response.header.qr or len(response.questions) != 1:
        return None
    asked, repeated = query.q, response.q
    same_name = [label.lower() for label in asked.qname.label] == [label.lower() for label in repeated.qname.label]
    return response if same_name and asked.qtype == repeated.qtype else None
