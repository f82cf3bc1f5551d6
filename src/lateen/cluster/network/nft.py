"""nftables objects and expressions as nfnetlink messages, and the atomic batch that carries them.

Flow: `Batch().add_table(...).add_chain(...).add_rule(...)` -> `encode()` -> one datagram -> `apply` (all or nothing).
Invariants: integers of nfnetlink are big-endian, register contents keep the byte order of what they hold
(addresses and ports big-endian, marks and interface indexes native).
Source: Linux include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h; the expression sequences are those that
`nft --debug=netlink` shows. Written by hand because the machine need not have nft, iptables or libnftnl.
"""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from lateen.cluster.network.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    NetlinkSocket,
    encode_attribute,
    encode_message,
    encode_nested,
    encode_text,
)

NFPROTO_IPV4 = 2
SUBSYSTEM = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, GETRULE, DELRULE = 0, 2, 3, 5, 6, 7, 8
NEWSET, DELSET, NEWSETELEM, GETSETELEM, DELSETELEM = 9, 11, 12, 13, 14
SET_ANONYMOUS, SET_CONSTANT, SET_MAP = 1, 2, 8
TYPE_VERDICT = 0xFFFFFF00
HOOK_PREROUTING, HOOK_INPUT, HOOK_FORWARD, HOOK_OUTPUT, HOOK_POSTROUTING = 0, 1, 2, 3, 4
ACCEPT, GOTO, RETURN = 1, -4, -5
OIF, L4PROTO, MARK = 5, 16, 3
EQUAL, NOT_EQUAL = 0, 1
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
TCP, UDP = 6, 17
REGISTER = 8  # NFT_REG32_00: the first of sixteen 4-byte registers
PRIORITY_DESTINATION_NAT, PRIORITY_SOURCE_NAT = -100, 100


def _u32(value: int) -> bytes:
    return struct.pack(">I", value & 0xFFFFFFFF)


def _expression(name: str, *attributes: bytes) -> bytes:
    return encode_nested(1, encode_text(1, name), encode_nested(2, *attributes))


def _number(kind: int, value: int) -> bytes:
    return encode_attribute(kind, _u32(value))


def _verdict(code: int, chain: str | None = None) -> bytes:
    return encode_nested(2, _number(1, code), encode_text(2, chain) if chain else b"")


def load_meta(key: int, register: int = REGISTER) -> bytes:
    """Load packet metadata (`MARK`, `OIF`, `L4PROTO`) into a register."""
    return _expression("meta", _number(2, key), _number(1, register))


def load_payload(base: int, offset: int, size: int, register: int = REGISTER) -> bytes:
    """Load bytes of the packet into a register."""
    return _expression("payload", _number(1, register), _number(2, base), _number(3, offset), _number(4, size))


def compare(operator: int, value: bytes, register: int = REGISTER) -> bytes:
    """Go on with the rule only when the register compares so with `value`."""
    return _expression("cmp", _number(1, register), _number(2, operator), encode_nested(3, encode_attribute(1, value)))


def mask(bits: bytes, register: int = REGISTER) -> bytes:
    """Keep only `bits` of the register."""
    return _expression(
        "bitwise",
        _number(1, register),
        _number(2, register),
        _number(3, len(bits)),
        encode_nested(4, encode_attribute(1, bits)),
        encode_nested(5, encode_attribute(1, b"\0" * len(bits))),
    )


def load_immediate(value: bytes, register: int = REGISTER) -> bytes:
    """Load a constant into a register."""
    return _expression("immediate", _number(1, register), encode_nested(2, encode_attribute(1, value)))


def decide(code: int, chain: str | None = None) -> bytes:
    """End the rule with a verdict (`ACCEPT`, `RETURN`, `GOTO` a chain)."""
    return _expression("immediate", _number(1, 0), encode_nested(2, _verdict(code, chain)))


def look_up(name: str, *, to: int | None = None, register: int = REGISTER) -> bytes:
    """Look the register up in a set; with `to`, load what the map holds there (0: take its verdict)."""
    target = b"" if to is None else _number(3, to)
    return _expression("lookup", encode_text(1, name), _number(2, register), target)


def load_random(modulus: int, register: int = REGISTER) -> bytes:
    """Load a random number below `modulus` (native order) into a register."""
    return _expression("numgen", _number(1, register), _number(2, modulus), _number(3, 1), _number(4, 0))


def redirect(port: int) -> bytes:
    """Send the connection to a local port instead."""
    return load_immediate(struct.pack(">H", port)) + _expression("redir", _number(1, REGISTER))


def destination_nat(address_register: int, port_register: int) -> bytes:
    """Send the connection to the address and port in the registers."""
    return _expression(
        "nat",
        _number(1, 1),
        _number(2, NFPROTO_IPV4),
        _number(3, address_register),
        _number(5, port_register),
    )


def masquerade() -> bytes:
    """Replace the source address by that of the outgoing link."""
    return _expression("masq")


def reject() -> bytes:
    """Answer with ICMP port unreachable (a TCP client sees its connection refused)."""
    return _expression("reject", _number(1, 0), encode_attribute(2, b"\x03"))


def match_address(offset: int, network: str, *, equal: bool = True) -> bytes:
    """Match the IPv4 source (offset 12) or destination (16) against `a.b.c.d` or `a.b.c.d/n`."""
    address, _, prefix = network.partition("/")
    bits = struct.pack(">I", (0xFFFFFFFF << (32 - int(prefix or 32))) & 0xFFFFFFFF)
    wanted = bytes(a & b for a, b in zip(socket.inet_aton(address), bits, strict=True))
    return (
        load_payload(NETWORK_HEADER, offset, 4)
        + (b"" if bits == b"\xff\xff\xff\xff" else mask(bits))
        + compare(EQUAL if equal else NOT_EQUAL, wanted)
    )


def match_protocol(protocol: int) -> bytes:
    """Match the layer 4 protocol."""
    return load_meta(L4PROTO) + compare(EQUAL, bytes([protocol]))


def match_destination_port(port: int) -> bytes:
    """Match the destination port (after `match_protocol`)."""
    return load_payload(TRANSPORT_HEADER, 2, 2) + compare(EQUAL, struct.pack(">H", port))


@dataclass(frozen=True)
class Element:
    """One element of a set or map: `data` for a data map, `chain` for a verdict map that goes to a chain."""

    key: bytes
    data: bytes | None = None
    chain: str | None = None


class Batch:
    """Messages for one IPv4 table, applied all or not at all."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._messages: list[tuple[int, int, bytes]] = []

    def __len__(self) -> int:
        return len(self._messages)

    def _append(self, kind: int, flags: int, *attributes: bytes) -> Self:
        self._messages.append((kind, flags, encode_text(1, self._table) + b"".join(attributes)))
        return self

    def add_table(self) -> Self:
        """Create the table unless it exists."""
        return self._append(NEWTABLE, NLM_F_CREATE)

    def delete_table(self) -> Self:
        """Delete the table and all it holds; it must exist."""
        return self._append(DELTABLE, 0)

    def add_base_chain(self, name: str, kind: str, hook: int, priority: int) -> Self:
        """Create a chain of type `kind` (nat, filter) called at a hook."""
        return self._append(
            NEWCHAIN,
            NLM_F_CREATE,
            encode_text(3, name),
            encode_nested(4, _number(1, hook), _number(2, priority)),
            _number(5, ACCEPT),
            encode_text(7, kind),
        )

    def add_chain(self, name: str) -> Self:
        """Create a chain that rules go to."""
        return self._append(NEWCHAIN, NLM_F_CREATE, encode_text(3, name))

    def delete_chain(self, name: str) -> Self:
        """Delete a chain that no rule or element names any more."""
        return self._append(DELCHAIN, 0, encode_text(3, name))

    def flush_chain(self, name: str) -> Self:
        """Delete the rules of a chain."""
        return self._append(DELRULE, 0, encode_text(2, name))

    def add_rule(self, chain: str, *expressions: bytes) -> Self:
        """Append a rule."""
        return self._append(NEWRULE, NLM_F_CREATE | 0x800, encode_text(2, chain), encode_nested(4, *expressions))

    def add_set(self, name: str, identity: int, key_bytes: int, *, data_bytes: int | None, flags: int) -> Self:
        """Create a set, or a map with `data_bytes` (0: a verdict map)."""
        data = b""
        if data_bytes is not None:
            flags |= SET_MAP
            data = _number(6, TYPE_VERDICT if data_bytes == 0 else 1) + _number(7, data_bytes or 16)
        return self._append(
            NEWSET,
            NLM_F_CREATE,
            encode_text(2, name),
            _number(3, flags),
            _number(4, 1),
            _number(5, key_bytes),
            data,
            _number(10, identity),
        )

    def delete_set(self, name: str) -> Self:
        """Delete a set that no rule names any more."""
        return self._append(DELSET, 0, encode_text(2, name))

    def add_elements(self, name: str, elements: Sequence[Element]) -> Self:
        """Add elements to a set."""
        return self._elements(NEWSETELEM, NLM_F_CREATE, name, elements)

    def delete_elements(self, name: str, elements: Sequence[Element]) -> Self:
        """Delete elements, named by their keys, from a set."""
        return self._elements(DELSETELEM, 0, name, [Element(element.key) for element in elements])

    def _elements(self, kind: int, flags: int, name: str, elements: Sequence[Element]) -> Self:
        encoded = b"".join(encode_nested(1, *_encode_element(element)) for element in elements)
        return self._append(kind, flags, encode_text(2, name), encode_nested(3, encoded))

    def encode(self) -> tuple[bytes, int]:
        """Return the batch and the number of its last message (the first, BATCH_BEGIN, is 1)."""
        header = struct.pack(">BBH", 0, 0, SUBSYSTEM)
        parts = [encode_message(BATCH_BEGIN, NLM_F_REQUEST, 1, header)]
        family = struct.pack(">BBH", NFPROTO_IPV4, 0, 0)
        last = len(self._messages) + 1
        for sequence, (kind, flags, payload) in enumerate(self._messages, 2):
            acknowledge = NLM_F_ACK if sequence == last else 0
            parts.append(
                encode_message(SUBSYSTEM << 8 | kind, flags | NLM_F_REQUEST | acknowledge, sequence, family + payload)
            )
        parts.append(encode_message(BATCH_END, NLM_F_REQUEST, last + 1, header))
        return b"".join(parts), last


def _encode_element(element: Element) -> list[bytes]:
    parts = [encode_nested(1, encode_attribute(1, element.key))]
    if element.chain is not None:
        parts.append(encode_nested(2, _verdict(GOTO, element.chain)))
    elif element.data is not None:
        parts.append(encode_nested(2, encode_attribute(1, element.data)))
    return parts


def apply(batch: bytes, last: int) -> None:
    """Hand an encoded batch to the kernel for the caller's network namespace.

    Raises NetlinkError; its `position` is the index of the refused message (0 is the batch itself).
    """
    with NetlinkSocket(NETLINK_NETFILTER) as netlink:
        netlink.exchange(batch, 1, last)
