"""Interception: what is asked for, what the kernel was told, and what packets then do."""

import asyncio
import contextlib
import errno
import json
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lateen.cluster.network.interception import Interception, build_rules, parse_interception
from lateen.cluster.node.sandbox import NodeNamespace, Sandbox, SandboxError
from lateen.testing.node import Echo, greet, open_pod, run_node_namespace

ISTIO_INIT = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*",
              "-d", "15090,15021,15020", "--log_output_level=default:info"]  # fmt: skip
PREFIX = "traffic.sidecar.istio.io/"
OWN, PEER = "10.244.0.5", "10.244.0.6"


@pytest.mark.parametrize(
    ("arguments", "annotations", "expected"),
    [
        pytest.param([], {}, Interception(), id="nothing said"),
        pytest.param(
            ISTIO_INIT, {}, Interception(excluded_inbound_ports=(15020, 15021, 15090)), id="as Istio injects it"
        ),
        pytest.param(
            ["-i", "10.0.0.0/8,fd00::/8", "-b", "80,x", "-o", "443"],
            {},
            Interception(included_ranges=("10.0.0.0/8",), included_inbound_ports=(80,), excluded_outbound_ports=(443,)),
            id="arguments",
        ),
        pytest.param(
            ["-o", "443"],
            {PREFIX + "excludeOutboundPorts": "22, 25", PREFIX + "excludeInboundPorts": "9000"},
            Interception(excluded_inbound_ports=(15020, 15021, 15090, 9000), excluded_outbound_ports=(22, 25)),
            id="annotations win",
        ),
        pytest.param(
            ["-i", "*"],
            {PREFIX + "includeOutboundIPRanges": "", PREFIX + "includeInboundPorts": ""},
            Interception(included_ranges=(), included_inbound_ports=()),
            id="an empty annotation means none",
        ),
    ],
)
def test_what_is_asked_for(arguments: list[str], annotations: dict[str, str], expected: Interception) -> None:
    assert parse_interception(arguments, annotations) == expected


READ_BACK = """
import json, struct
from lateen.cluster.network import nft
from lateen.cluster.network.interception import Interception, build_rules
from lateen.cluster.network.netlink import (
    NETLINK_NETFILTER, NetlinkSocket, decode_attributes, iterate_attributes
)
nft.apply(*build_rules(Interception(excluded_ranges=("1.2.0.0/16",), excluded_outbound_ports=(443,))).encode())
with NetlinkSocket(NETLINK_NETFILTER) as netlink:
    rules = netlink.dump(nft.SUBSYSTEM << 8 | nft.GETRULE, struct.pack(">BBH", nft.NFPROTO_IPV4, 0, 0))
found = []
for rule in rules:
    fields = decode_attributes(rule[4:])
    words = []
    for _kind, expression in iterate_attributes(fields[4]):
        parts = decode_attributes(expression)
        words.append(parts[1].rstrip(b"\\0").decode())
        inner = decode_attributes(parts[2])
        if words[-1] == "cmp":
            value = decode_attributes(inner[3])[1]
            words[-1] = ("!=" if inner[2][-1] else "==") + value.hex()
        elif words[-1] == "meta":
            words[-1] = {5: "oif", 16: "l4proto", 3: "mark"}[inner[2][-1]]
        elif words[-1] == "payload":
            words[-1] = {(1, 12): "saddr", (1, 16): "daddr", (2, 2): "dport"}[inner[2][-1], inner[3][-1]]
        elif words[-1] == "immediate":
            data = decode_attributes(inner[2])
            words[-1] = data[1].hex() if 1 in data else "verdict" + str(struct.unpack(">i", decode_attributes(data[2])[1])[0])
    found.append([fields[2].rstrip(b"\\0").decode(), " ".join(words)])
print(json.dumps(found))
"""
LOOPBACK, MARK = "oif ==01000000", "mark ==39050000"


def test_the_kernel_holds_the_rules_of_the_design() -> None:
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", READ_BACK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {"output": [], "prerouting": []}
    for chain, words in json.loads(done.stdout):
        found[chain].append(words)
    assert found["output"] == [
        f"saddr ==7f000006 {LOOPBACK} verdict-5",
        f"{MARK} {LOOPBACK} daddr !=7f000001 l4proto ==06 3a9e redir",
        f"{MARK} verdict-5",
        "daddr bitwise ==7f000000 verdict-5",
        "l4proto ==06 dport ==01bb verdict-5",
        "daddr bitwise ==01020000 verdict-5",
        "l4proto ==06 3a99 redir",
    ]
    assert found["prerouting"] == [
        "l4proto ==06 dport ==3aac verdict-5",
        "l4proto ==06 dport ==3aad verdict-5",
        "l4proto ==06 dport ==3af2 verdict-5",
        "l4proto ==06 3a9e redir",
    ]


@pytest_asyncio.fixture
async def node() -> AsyncIterator[NodeNamespace]:
    async with run_node_namespace() as namespace:
        yield namespace


class Ports:
    """A pod with interception and an echo on some ports, each named by its port."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def met(self, host: str, port: int, *, source: str = "", sandbox: Sandbox | None = None) -> str:
        """Which port's server answers a connection to host and port."""
        return (await greet(await (sandbox or self.sandbox).connect(host, port, source=source)))[0]


@pytest_asyncio.fixture
async def ports(node: NodeNamespace) -> AsyncIterator[Ports]:
    sandbox = await open_pod(node, OWN)
    await sandbox.apply_rules(build_rules(Interception(excluded_outbound_ports=(7000,))))
    async with contextlib.AsyncExitStack() as stack:
        for number in (15001, 15006, 15021, 8080):
            listener = await sandbox.listen("0.0.0.0", number)
            await stack.enter_async_context(Echo(str(number)).serve(listener))
        yield Ports(sandbox)


async def test_connections_go_where_the_design_says(node: NodeNamespace, ports: Ports) -> None:
    peer = await open_pod(node, PEER)
    seen = {
        "out to another pod": await ports.met(PEER, 80),
        "out to a service": await ports.met("10.96.3.3", 443),
        "to the own address": await ports.met(OWN, 8080),
        "to localhost": await ports.met("127.0.0.1", 8080),
        "the node's probe": await ports.met(OWN, 8080, source="127.0.0.6"),
        "in to the app": await ports.met(OWN, 8080, sandbox=peer),
        "in to a port nobody serves": await ports.met(OWN, 9999, sandbox=peer),
        "in to readiness": await ports.met(OWN, 15021, sandbox=peer),
    }
    assert seen == {
        "out to another pod": "15001",
        "out to a service": "15001",
        "to the own address": "15001",
        "to localhost": "8080",
        "the node's probe": "8080",
        "in to the app": "15006",
        "in to a port nobody serves": "15006",
        "in to readiness": "15021",
    }
    with pytest.raises(SandboxError) as refused:
        await asyncio.wait_for(ports.sandbox.connect(PEER, 7000), 10)
    assert refused.value.number == errno.ECONNREFUSED, "an excluded port goes straight to the peer"


async def test_rules_are_applied_as_a_whole_or_not_at_all(node: NodeNamespace) -> None:
    sandbox = await open_pod(node, OWN)
    broken = build_rules(Interception()).add_rule("no-such-chain")
    with pytest.raises(SandboxError) as refused:
        await sandbox.apply_rules(broken)
    assert refused.value.number == errno.ENOENT
    listener = await sandbox.listen("0.0.0.0", 8080)
    peer = await open_pod(node, PEER)
    async with Echo("8080").serve(listener):
        assert (await greet(await peer.connect(OWN, 8080)))[0] == "8080"
