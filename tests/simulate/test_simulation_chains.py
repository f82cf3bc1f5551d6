"""A table of connections: the simulator and a real Envoy give each of them to the same filter chain.

Destination and source are what a PROXY header says, as the original destination is behind a redirect. TLS is seen by the
inspector only: a chain answers with its name before any handshake.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lateen.envoy.process import EnvoyProcess
from lateen.simulate.configuration import read_configuration
from lateen.simulate.filter_chain import rank_server_names
from lateen.simulate.request import Protocol, Request
from lateen.simulate.simulation import simulate

PREFIX = "type.googleapis.com/envoy.extensions.filters"
INSPECTORS = {
    "proxy_protocol": f"{PREFIX}.listener.proxy_protocol.v3.ProxyProtocol",
    "tls_inspector": f"{PREFIX}.listener.tls_inspector.v3.TlsInspector",
    "http_inspector": f"{PREFIX}.listener.http_inspector.v3.HttpInspector",
}


def network(prefix: str, length: int) -> dict[str, Any]:
    return {"address_prefix": prefix, "prefix_len": length}


CHAINS: dict[str, dict[str, Any]] = {
    "port": {"destination_port": 1000},
    "port-tls": {"destination_port": 1000, "transport_protocol": "tls"},
    "port-tls-sni": {"destination_port": 1000, "transport_protocol": "tls", "server_names": ["a.org"]},
    "port-only-tls": {"destination_port": 1001, "transport_protocol": "tls"},
    "wide": {"destination_port": 2000, "prefix_ranges": [network("10.0.0.0", 8)]},
    "narrow": {"destination_port": 2000, "prefix_ranges": [network("10.1.0.0", 16), network("10.9.9.9", 32)]},
    "narrow-only-tls": {
        "destination_port": 2000,
        "prefix_ranges": [network("10.2.0.0", 16)],
        "transport_protocol": "tls",
    },
    "sni": {"destination_port": 3000, "server_names": ["www.example.com"]},
    "sni-wildcard": {"destination_port": 3000, "server_names": ["*.example.com"]},
    "sni-wider": {"destination_port": 3000, "server_names": ["*.com"]},
    "sni-http": {"destination_port": 3000, "server_names": ["both.org"], "application_protocols": ["h2"]},
    "no-sni": {"destination_port": 3000, "transport_protocol": "raw_buffer"},
    "h2": {"destination_port": 4000, "application_protocols": ["h2"]},
    "http": {"destination_port": 4000, "application_protocols": ["http/1.1", "h2c"]},
    "istio": {"destination_port": 4000, "transport_protocol": "tls", "application_protocols": ["istio", "istio-h2"]},
    "anything": {"destination_port": 4000},
    "loopback": {"destination_port": 5000, "source_type": "SAME_IP_OR_LOOPBACK"},
    "external": {"destination_port": 5000, "source_type": "EXTERNAL"},
    "source": {"destination_port": 6000, "source_prefix_ranges": [network("10.7.0.0", 16)]},
    "source-port": {
        "destination_port": 6000,
        "source_prefix_ranges": [network("10.7.7.0", 24)],
        "source_ports": [7, 8],
    },
    "elsewhere": {"destination_port": 6000},
}


@dataclass(frozen=True)
class Connection:
    port: int
    address: str = "10.1.2.3"
    source: str = "10.200.0.1"
    source_port: int = 4711
    protocol: Protocol = "http"
    sni: str | None = None
    alpn: tuple[str, ...] = ()
    tls: bool = False


def tls(port: int, sni: str = "", *alpn: str, address: str = "10.1.2.3") -> Connection:
    return Connection(port, address, sni=sni or None, alpn=alpn, tls=True)


CONNECTIONS = [
    Connection(1000),
    tls(1000, "b.org"),
    tls(1000, "a.org"),
    tls(1000, "A.ORG"),
    tls(1000),
    Connection(1001),
    tls(1001),
    Connection(1002),
    *(Connection(2000, address) for address in ("10.3.0.1", "10.1.0.1", "10.9.9.9", "10.2.0.1", "192.168.0.1")),
    tls(2000, "x.org", address="10.2.0.1"),
    *(
        tls(3000, name)
        for name in ("www.example.com", "other.example.com", "a.b.example.com", "example.com", "x.org", "")
    ),
    tls(3000, "both.org"),
    tls(3000, "both.org", "h2"),
    tls(3000, "both.org", "http/1.1", "h2"),
    Connection(3000),
    *(tls(4000, "x.org", *alpn) for alpn in (("h2",), ("http/1.1",), ("istio",), ("istio-h2", "h2"), ("h2", "istio"))),
    tls(4000, "x.org", "unknown", "h2"),
    tls(4000, "x.org"),
    *(Connection(4000, protocol=protocol) for protocol in ("http", "http2", "tcp")),
    Connection(5000, source="10.1.2.3"),
    Connection(5000, source="127.0.0.1"),
    Connection(5000, source="10.1.2.4"),
    Connection(6000, source="10.7.1.1"),
    Connection(6000, source="10.7.7.1", source_port=7),
    Connection(6000, source="10.7.7.1", source_port=9),
    Connection(6000, source="10.8.0.1"),
]


def build_listener() -> dict[str, Any]:
    def answer(name: str) -> dict[str, Any]:
        config = {"@type": f"{PREFIX}.network.direct_response.v3.Config", "response": {"inline_string": name}}
        return {"filters": [{"name": "envoy.filters.network.direct_response", "typed_config": config}]}

    return {
        "name": "virtualInbound",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": [
            {"name": f"envoy.filters.listener.{name}", "typed_config": {"@type": kind}}
            for name, kind in INSPECTORS.items()
        ],
        "filter_chains": [
            {"name": name, "filter_chain_match": match, **answer(name)} for name, match in CHAINS.items()
        ],
        "default_filter_chain": {"name": "default", **answer("default")},
    }


def build_hello(connection: Connection) -> bytes:
    """The first bytes of a TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if connection.alpn:
        context.set_alpn_protocols(list(connection.alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=connection.sni)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def ask(port: int, connection: Connection) -> str:
    plain = {
        "http": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "tcp": b"\x00\x01\x02\x03 no HTTP at all\r\n",
    }
    places = f"{connection.source} {connection.address} {connection.source_port} {connection.port}"
    first = build_hello(connection) if connection.tls else plain[connection.protocol]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PROXY TCP4 {places}\r\n".encode() + first)
    try:
        return (await reader.read()).decode()
    finally:
        writer.transport.abort()


def predict(connection: Connection) -> str:
    request = Request(
        address=connection.address,
        port=connection.port,
        interception="inbound",
        protocol=connection.protocol,
        tls="tls" if connection.tls else "plaintext",
        sni=connection.sni or "",
        alpn=connection.alpn,
        source_address=connection.source,
        source_port=connection.source_port,
    )
    return simulate(read_configuration({"listeners": [build_listener()]}), request).filter_chain


async def test_every_connection_goes_to_the_chain_that_envoy_takes(tmp_path: Path) -> None:
    bootstrap = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [build_listener()]},
    }
    async with EnvoyProcess(bootstrap, tmp_path) as envoy:
        await envoy.wait_ready()
        [status] = (await envoy.admin.get_listeners())["listener_statuses"]
        port = status["local_address"]["socket_address"]["port_value"]
        found = {connection: await ask(port, connection) for connection in CONNECTIONS}
    different = [f"{one}: Envoy {chain}, we {predict(one)}" for one, chain in found.items() if chain != predict(one)]
    assert not different, "\n".join(different)
    assert len(set(found.values())) > 15


@pytest.mark.parametrize(
    ("names", "sni", "better"),
    [(["a.org"], "A.org", ["*.org"]), (["*.b.org"], "a.b.org", ["*.org"]), (["*.org"], "a.b.org", ["b.org"])],
)
def test_the_more_specific_server_name_wins(names: list[str], sni: str, better: list[str]) -> None:
    assert rank_server_names(names, sni) > rank_server_names(better, sni)
