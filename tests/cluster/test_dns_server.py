"""Cluster DNS on real sockets: UDP and TCP clients, resolvers outside that answer, truncate, lie or are silent."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from dnslib import EDNS0, QTYPE, RCODE, RR, TXT, A, DNSError, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from service_documents import directory_of, endpoint, endpoint_slice, put, service

from lateen.cluster.dns import DnsServer
from lateen.cluster.dns_forwarding import Forwarder, parse_resolvers
from lateen.cluster.dns_messages import decode_query
from lateen.cluster.service_directory import ServiceDirectory
from lateen.runtime.tasks import TaskSet
from lateen.testing.poll import until

WEB = "web.default.svc.cluster.local"
MANY = "many.default.svc.cluster.local"
Address = tuple[str, int]


def build_directory() -> ServiceDirectory:
    return directory_of(
        service("web", "10.96.7.7"),
        service("many"),
        endpoint_slice("many", *[endpoint(f"10.244.1.{each}") for each in range(1, 101)]),
        service("mail", "", type="ExternalName", externalName="mail.example.com", ports=[]),
    )


def open_sockets() -> tuple[socket.socket, socket.socket]:
    """A datagram and a listening socket with one number, which may be free for one protocol and taken for the other."""
    while True:
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        datagram.bind(("127.0.0.1", 0))
        try:
            return datagram, socket.create_server(datagram.getsockname())
        except OSError:
            datagram.close()


class Outside(asyncio.DatagramProtocol):
    """A resolver that the test scripts: query -> packets to send back."""

    def __init__(self, respond: Callable[[DNSRecord], list[bytes]]) -> None:
        self.asked: list[str] = []
        self._respond = respond

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        query = DNSRecord.parse(data)
        self.asked.append(f"{query.q.qname} {QTYPE.get(query.q.qtype)}")
        for packet in self._respond(query):
            self._transport.sendto(packet, addr)  # type: ignore[attr-defined]


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@contextlib.asynccontextmanager
async def run_outside(
    respond: Callable[[DNSRecord], list[bytes]], serve: Any = hang_up
) -> AsyncIterator[tuple[Outside, Address]]:
    loop = asyncio.get_running_loop()
    datagram, listener = open_sockets()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Outside(respond), sock=datagram)
    try:
        async with await asyncio.start_server(serve, sock=listener):
            yield protocol, transport.get_extra_info("sockname")
    finally:
        transport.close()


def reply_with(*records: RR) -> Callable[[DNSRecord], list[bytes]]:
    def respond(query: DNSRecord) -> list[bytes]:
        reply = query.reply(aa=0)
        reply.add_answer(*records)
        return [reply.pack()]

    return respond


class Client:
    """Asks the server over real sockets."""

    def __init__(self, server: DnsServer, directory: ServiceDirectory, address: Address) -> None:
        self.server, self.directory, self.address = server, directory, address

    async def send(self, packet: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as opened:
            opened.connect(self.address)
            opened.send(packet)
            return await asyncio.wait_for(loop.sock_recv(opened, 65535), 15)

    async def ask(self, name: str, kind: str = "A", *, payload: int = 0) -> DNSRecord:
        query = DNSRecord.question(name, kind)
        if payload:
            query.add_ar(EDNS0(udp_len=payload))
        reply = DNSRecord.parse(await self.send(query.pack()))
        assert reply.header.id == query.header.id
        return reply

    async def ask_over_tcp(self, *names: str) -> list[DNSRecord]:
        reader, writer = await asyncio.open_connection(*self.address)
        for name in names:
            packet = DNSRecord.question(name).pack()
            writer.write(struct.pack(">H", len(packet)) + packet)
        replies = []
        for _ in names:
            size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 15))
            replies.append(DNSRecord.parse(await reader.readexactly(size)))
        writer.close()
        await writer.wait_closed()
        return replies


@contextlib.asynccontextmanager
async def run_server(*resolvers: Address) -> AsyncIterator[Client]:
    directory = build_directory()
    server = DnsServer(directory, Forwarder(lambda: resolvers))
    datagram, listener = open_sockets()
    address: Address = datagram.getsockname()
    tasks = TaskSet("test")
    tasks.start(server.serve([datagram], [listener]), name="dns")
    try:
        yield Client(server, directory, address)
    finally:
        await tasks.close()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with run_server() as running:
        yield running


def values(reply: DNSRecord) -> list[str]:
    return [str(record.rdata) for record in reply.rr]


async def test_a_service_is_answered_with_authority(client: Client) -> None:
    reply = await client.ask(WEB)
    assert values(reply) == ["10.96.7.7"]
    assert (reply.header.aa, reply.header.ra, reply.header.rd, reply.rr[0].ttl) == (1, 1, 1, 5)


async def test_the_letter_case_of_the_question_comes_back(client: Client) -> None:
    reply = await client.ask("wEb.Default.svc.CLUSTER.local")
    assert b"wEb.Default.svc.CLUSTER.local".split(b".") == list(reply.rr[0].rname.label)
    assert values(reply) == ["10.96.7.7"]


@pytest.mark.parametrize(("name", "rcode"), [(f"no.{WEB}", RCODE.NXDOMAIN), (WEB, RCODE.NOERROR)])
async def test_what_does_not_exist_comes_with_the_time_to_remember_it(client: Client, name: str, rcode: int) -> None:
    reply = await client.ask(name, "AAAA")
    assert (reply.header.rcode, values(reply)) == (rcode, [])
    assert [(str(record.rname), record.ttl) for record in reply.auth] == [("cluster.local.", 5)]


async def test_a_changed_service_is_answered_anew(client: Client) -> None:
    assert values(await client.ask(WEB)) == ["10.96.7.7"]
    put(client.directory, service("web", "10.96.7.8"))
    client.server.forget()
    assert values(await client.ask(WEB)) == ["10.96.7.8"]


async def test_addresses_come_in_changing_order(client: Client) -> None:
    async def first() -> str:
        [reply] = await client.ask_over_tcp(MANY)
        return values(reply)[0]

    known = await first()

    async def differs() -> bool:
        return await first() != known

    await until(differs, what="another address comes first")


async def test_large_answers_are_truncated_and_come_over_tcp(client: Client) -> None:
    reply = await client.ask(MANY)
    assert (reply.header.tc, reply.rr, str(reply.q.qname)) == (1, [], f"{MANY}.")
    [whole] = await client.ask_over_tcp(MANY)
    assert (whole.header.tc, len(whole.rr)) == (0, 100)


async def test_edns_raises_the_limit_up_to_ours(client: Client) -> None:
    put(client.directory, endpoint_slice("many", *[endpoint(f"10.244.1.{each}") for each in range(1, 51)]))
    reply = await client.ask(MANY, payload=4096)
    [options] = [record for record in reply.ar if record.rtype == QTYPE.OPT]
    assert (reply.header.tc, len(reply.rr), options.rclass) == (0, 50, 1232)


async def test_many_queries_share_a_connection(client: Client) -> None:
    replies = await client.ask_over_tcp(WEB, f"no.{WEB}", WEB)
    assert [values(reply) for reply in replies] == [["10.96.7.7"], [], ["10.96.7.7"]]


def build_query(**header: int) -> bytes:
    return bytes(DNSRecord(DNSHeader(**header), q=DNSQuestion(WEB)).pack())


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        pytest.param(build_query(opcode=4), RCODE.NOTIMP, id="not a query"),
        pytest.param(bytes(DNSRecord(q=DNSQuestion(WEB, 1, 3)).pack()), RCODE.REFUSED, id="class CHAOS"),
    ],
)
async def test_other_business_is_declined(client: Client, packet: bytes, rcode: int) -> None:
    assert DNSRecord.parse(await client.send(packet)).header.rcode == rcode


async def test_a_newer_edns_is_told_ours(client: Client) -> None:
    query = DNSRecord.question(WEB)
    query.add_ar(EDNS0(version=1, udp_len=4096))
    reply = DNSRecord.parse(await client.send(query.pack()))
    assert [record.ttl >> 24 for record in reply.ar] == [1], "BADVERS"
    assert not reply.rr


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\0",
        b"\0" * 12,
        build_query(qr=1),
        build_query()[:-1],
        build_query()[:12] + b"\xc0\x0c\0\1\0\1",
        build_query()[:12] + b"\x3fabc",
        b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\1a" * 200,
        b"\0\1\1\0\0\2\0\0\0\0\0\0" + build_query()[12:],
    ],
)
async def test_what_is_no_query_gets_no_answer_and_does_no_harm(client: Client, packet: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendto(packet, client.address)
    assert await client.server.respond(packet, datagram=True) is None
    assert values(await client.ask(WEB)) == ["10.96.7.7"]


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"\0\1\1\0\0\1\0\0\0\0\0\1" + rest))
def test_any_packet_is_a_query_or_dropped(packet: bytes) -> None:
    query = decode_query(packet)
    if query is None:
        return
    try:
        parsed = DNSRecord.parse(packet[:12] + packet[12:])
    except DNSError:
        return
    assert list(query.name) == list(parsed.q.qname.label)
    assert (query.kind, query.class_, query.number) == (parsed.q.qtype, parsed.q.qclass, parsed.header.id)


async def test_names_outside_are_asked_of_the_hosts_resolvers_and_remembered() -> None:
    answer = RR("example.com", QTYPE.A, ttl=300, rdata=A("192.0.2.1"))
    async with run_outside(reply_with(answer)) as (outside, address), run_server(address) as client:
        for _ in range(2):
            reply = await client.ask("example.com")
            assert (values(reply), reply.header.aa, reply.header.rcode) == (["192.0.2.1"], 0, RCODE.NOERROR)
        assert outside.asked == ["example.com. A"]
        [over_tcp] = await client.ask_over_tcp("EXAMPLE.com")
        assert values(over_tcp) == ["192.0.2.1"]
        assert 0 < over_tcp.rr[0].ttl <= 60
        assert outside.asked == ["example.com. A"]


async def test_an_external_name_comes_with_its_addresses() -> None:
    answer = RR("mail.example.com", QTYPE.A, ttl=300, rdata=A("192.0.2.9"))
    async with run_outside(reply_with(answer)) as (outside, address), run_server(address) as client:
        assert values(await client.ask("mail.default.svc.cluster.local")) == ["mail.example.com.", "192.0.2.9"]
        assert outside.asked == ["mail.example.com. A"]


async def test_negative_answers_pass() -> None:
    def respond(query: DNSRecord) -> list[bytes]:
        reply = query.reply(aa=0)
        reply.header.rcode = RCODE.NXDOMAIN
        return [reply.pack()]

    async with run_outside(respond) as (_outside, address), run_server(address) as client:
        assert (await client.ask("no.example.com")).header.rcode == RCODE.NXDOMAIN


async def test_answers_to_other_questions_are_not_believed() -> None:
    def respond(query: DNSRecord) -> list[bytes]:
        def build(name: str, number: int, address: str) -> bytes:
            reply = DNSRecord(DNSHeader(id=number, qr=1), q=DNSQuestion(name))
            reply.add_answer(RR(name, QTYPE.A, ttl=60, rdata=A(address)))
            return bytes(reply.pack())

        number = query.header.id
        return [
            b"garbage",
            build("example.com", number ^ 1, "198.51.100.1"),
            build("example.org", number, "198.51.100.2"),
            build("example.com", number, "192.0.2.1"),
        ]

    async with run_outside(respond) as (_outside, address), run_server(address) as client:
        assert values(await client.ask("example.com")) == ["192.0.2.1"]


async def test_the_next_resolver_is_asked_when_one_fails() -> None:
    def fail(query: DNSRecord) -> list[bytes]:
        reply = query.reply()
        reply.header.rcode = RCODE.SERVFAIL
        return [reply.pack()]

    good = reply_with(RR("example.com", QTYPE.A, ttl=60, rdata=A("192.0.2.1")))
    async with run_outside(fail) as (_, first), run_outside(good) as (_, second), run_server(first, second) as client:
        assert values(await client.ask("example.com")) == ["192.0.2.1"]


async def test_truncated_answers_are_fetched_over_tcp() -> None:
    def truncate(query: DNSRecord) -> list[bytes]:
        return [query.reply().truncate().pack(), DNSRecord(DNSHeader(id=query.header.id, qr=1, tc=1), q=query.q).pack()]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = DNSRecord.parse(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
        [packet] = reply_with(RR("example.com", QTYPE.TXT, ttl=60, rdata=TXT("long")))(query)
        writer.write(struct.pack(">H", len(packet)) + packet)
        await writer.drain()
        writer.close()

    async with run_outside(truncate, serve) as (_, address), run_server(address) as client:
        assert values(await client.ask("example.com", "TXT")) == ['"long"']


@pytest.mark.parametrize("resolvers", [(), (("127.0.0.1", 9),)], ids=["none", "refusing"])
async def test_without_a_resolver_names_outside_fail_at_once(resolvers: tuple[Address, ...]) -> None:
    async with run_server(*resolvers) as client:
        assert (await client.ask("example.com")).header.rcode == RCODE.SERVFAIL
        assert values(await client.ask(WEB)) == ["10.96.7.7"]


async def test_a_silent_resolver_holds_up_nobody_else() -> None:
    async with run_outside(lambda _: []) as (outside, address), run_server(address) as client:
        asked = [asyncio.create_task(client.ask(f"{number}.example.com")) for number in range(3)]
        await until(lambda: len(outside.asked) == 3, what="the queries are under way")
        assert values(await client.ask(WEB)) == ["10.96.7.7"]
        for answered in await asyncio.gather(*asked):
            assert answered.header.rcode == RCODE.SERVFAIL
        assert (await client.ask("0.example.com")).header.rcode == RCODE.SERVFAIL
        assert len(outside.asked) == 3, "a failure is remembered"


def test_resolvers_are_read_as_libc_reads_them() -> None:
    text = "# nameserver 1.1.1.1\nsearch example.com\nnameserver 192.0.2.1\nnameserver\nnameserver fd00::1 # six\n"
    assert parse_resolvers(text) == (("192.0.2.1", 53), ("fd00::1", 53))
