"""DNS messages of clients: packet -> `Query`, and `Answer` -> packet.

Invariants: decoding looks at the header, the one question and EDNS, never recurses or follows compression pointers,
and costs what the packet is long; a packet that is no query decodes to None and is dropped. The question is repeated
as it was asked, letter case and all, as resolvers that randomise it expect.
Source: RFC 1035 section 4, RFC 6891 (EDNS0).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dnslib import CLASS, EDNS0, OPCODE, QTYPE, RCODE, RR, DNSHeader, DNSQuestion, DNSRecord

from lateen.cluster.dns_records import TTL_SECONDS, Labels, Record

PAYLOAD_BYTES = 1232  # fits every path's packets: what we accept and send over UDP
CLASSIC_PAYLOAD_BYTES = 512
_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_OPTION = struct.Struct(">BHHIH")  # with the root as its name
_RESPONSE, _RECURSION_DESIRED = 0x8000, 0x0100
_LONGEST_NAME_BYTES = 255
_LONGEST_LABEL_BYTES = 63
_BAD_VERSION = 1  # upper bits of BADVERS (16)

Name = tuple[bytes, ...]
"""A name as DNS carries it, without the root."""


@dataclass(frozen=True)
class Query:
    """What a client asks; `payload_bytes` is the largest answer it takes over UDP, `edns` its version, if any."""

    number: int
    opcode: int
    recursion_desired: bool
    name: Name
    kind: int
    class_: int
    payload_bytes: int = CLASSIC_PAYLOAD_BYTES
    edns: int | None = None

    @property
    def labels(self) -> Labels:
        """The name in lower case."""
        return tuple(label.decode("latin-1").lower() for label in self.name)

    @property
    def kind_name(self) -> str:
        """The record type's name, its number if it has none."""
        return str(QTYPE.get(self.kind))


def decode_query(packet: bytes) -> Query | None:
    """Return the query in a packet, None when it is none."""
    try:
        number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
        if flags & _RESPONSE or questions != 1:
            return None
        name, offset = _decode_name(packet, _HEADER.size)
        kind, class_ = _QUESTION.unpack_from(packet, offset)
        query = Query(number, flags >> 11 & 0xF, bool(flags & _RECURSION_DESIRED), name, kind, class_)
        if answers or authorities or not additional:
            return query
        root, option, size, state, _length = _OPTION.unpack_from(packet, offset + _QUESTION.size)
    except (struct.error, ValueError):
        return None
    if root or option != QTYPE.OPT:
        return query
    payload = min(max(size, CLASSIC_PAYLOAD_BYTES), PAYLOAD_BYTES)
    return replace(query, payload_bytes=payload, edns=state >> 16 & 0xFF)


def _decode_name(packet: bytes, offset: int) -> tuple[Name, int]:
    labels: list[bytes] = []
    start = offset
    while True:
        if offset >= len(packet) or offset - start >= _LONGEST_NAME_BYTES:
            raise ValueError("the name does not end")
        size = packet[offset]
        offset += 1
        if size == 0:
            return tuple(labels), offset
        if size > _LONGEST_LABEL_BYTES or offset + size > len(packet):
            raise ValueError("not a label")
        labels.append(packet[offset : offset + size])
        offset += size


def find_refusal(query: Query) -> int | None:
    """Return the error code for a query that is none of our business, None when it is to be answered."""
    if query.opcode != OPCODE.QUERY:
        return int(RCODE.NOTIMP)
    if query.class_ != CLASS.IN:
        return int(RCODE.REFUSED)
    return None


def build_reply(query: Query, *, rcode: int = 0, authoritative: bool = False) -> DNSRecord:
    """Return the reply without any records yet; it says BADVERS when the client's EDNS is newer than ours."""
    header = DNSHeader(id=query.number, bitmap=query.opcode << 11, qr=1, aa=int(authoritative), ra=1, rcode=rcode)
    header.rd = int(query.recursion_desired)
    reply = DNSRecord(header, q=DNSQuestion(list(query.name), query.kind, query.class_))
    if query.edns is not None:
        reply.add_ar(EDNS0(udp_len=PAYLOAD_BYTES, ext_rcode=_BAD_VERSION if query.edns else 0))
    return reply


def build_records(query: Query, records: Iterable[Record]) -> list[RR]:
    """Return records in wire form; those of the name that was asked carry it as it was asked."""
    built: list[RR] = []
    asked = query.labels
    for owner, data in records:
        name = list(query.name) if owner == asked else [label.encode("latin-1") for label in owner]
        kind = getattr(QTYPE, type(data).__name__)
        built.append(RR(name, kind, ttl=TTL_SECONDS, rdata=data))
    return built


def encode_reply(reply: DNSRecord, *, limit_bytes: int | None) -> bytes:
    """Return the packet; one above the limit goes without records and says that it is truncated."""
    packet = bytes(reply.pack())
    if limit_bytes is None or len(packet) <= limit_bytes:
        return packet
    options = [record for record in reply.ar if record.rtype == QTYPE.OPT]
    reply.header.tc = 1
    return bytes(DNSRecord(reply.header, questions=reply.questions, ar=options).pack())
