"""Traffic interception of a pod with a sidecar: which connections Envoy gets.

Flow: `Interception` (from istio-init's arguments and the pod's annotations) -> `build_rules` -> one atomic batch.

| chain      | in order                                                                                     |
| ---------- | -------------------------------------------------------------------------------------------- |
| output     | from 127.0.0.6 over lo: as is; marked 1337 over lo to another address than 127.0.0.1: 15006;   |
|            | marked 1337: as is; to 127/8: as is; excluded ports and ranges: as is; other TCP: 15001        |
| prerouting | TCP to 15020, 15021, 15090 and excluded ports: as is; other TCP: 15006                         |

Source: Istio's istio-iptables and the `traffic.sidecar.istio.io` annotations. We differ: Envoy is recognised by
the mark on its sockets (1337, only it has CAP_NET_ADMIN), not by its user id; nftables instead of iptables.
"""

import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lateen.cluster.network import nft

TABLE = "lateen"
MARK = 1337  # also in Envoy's bootstrap (upstream_bind_config)
OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
AGENT_PORTS = (15020, 15021, 15090)
PASSTHROUGH_SOURCE = "127.0.0.6"  # Envoy's inbound connections and the node's probes
_ANNOTATION = "traffic.sidecar.istio.io/"
_SOURCE, _DESTINATION = 12, 16


@dataclass(frozen=True)
class Interception:
    """What to intercept; None as included inbound ports or ranges means all."""

    included_ranges: tuple[str, ...] | None = None
    excluded_ranges: tuple[str, ...] = ()
    included_inbound_ports: tuple[int, ...] | None = None
    excluded_inbound_ports: tuple[int, ...] = field(default=AGENT_PORTS)
    included_outbound_ports: tuple[int, ...] = ()
    excluded_outbound_ports: tuple[int, ...] = ()


_ANNOTATIONS = {
    "includeOutboundIPRanges": "-i",
    "excludeOutboundIPRanges": "-x",
    "includeInboundPorts": "-b",
    "excludeInboundPorts": "-d",
    "includeOutboundPorts": "-q",
    "excludeOutboundPorts": "-o",
}


def parse_interception(arguments: Sequence[str], annotations: Mapping[str, str]) -> Interception:
    """Return what istio-init's arguments ask for, overridden by the pod's annotations; unknown flags are ignored."""
    values: dict[str, str] = {}
    for flag, value in itertools.pairwise(arguments):
        if flag.startswith("-") and not flag.startswith("--"):
            values[flag] = "" if value.startswith("-") else value
    for annotation, flag in _ANNOTATIONS.items():
        if _ANNOTATION + annotation in annotations:
            values[flag] = annotations[_ANNOTATION + annotation]
    inbound = values.get("-b", "*")
    ranges = values.get("-i", "*")
    return Interception(
        included_ranges=None if ranges == "*" else _split(ranges),
        excluded_ranges=_split(values.get("-x", "")),
        included_inbound_ports=None if inbound == "*" else _ports(inbound),
        excluded_inbound_ports=tuple(dict.fromkeys((*AGENT_PORTS, *_ports(values.get("-d", ""))))),
        included_outbound_ports=_ports(values.get("-q", "")),
        excluded_outbound_ports=_ports(values.get("-o", "")),
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip() and ":" not in part)


def _ports(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _split(text) if part.isdigit() and int(part) < 65536)


def build_rules(interception: Interception) -> nft.Batch:
    """Return the batch that creates the table; applied to a pod's namespace that has none."""
    batch = nft.Batch(TABLE).add_table()
    batch.add_base_chain("output", "nat", nft.HOOK_OUTPUT, nft.PRIORITY_DESTINATION_NAT)
    batch.add_base_chain("prerouting", "nat", nft.HOOK_PREROUTING, nft.PRIORITY_DESTINATION_NAT)
    _add_output(batch, interception)
    _add_prerouting(batch, interception)
    return batch


def _add_output(batch: nft.Batch, interception: Interception) -> None:
    # Index 1 is lo in every network namespace.
    over_loopback = nft.load_meta(nft.OIF) + nft.compare(nft.EQUAL, struct.pack("=I", 1))
    marked = nft.load_meta(nft.MARK) + nft.compare(nft.EQUAL, struct.pack("=I", MARK))
    tcp = nft.match_protocol(nft.TCP)
    to_envoy = nft.redirect(OUTBOUND_PORT)
    as_is = nft.decide(nft.RETURN)
    batch.add_rule("output", nft.match_address(_SOURCE, PASSTHROUGH_SOURCE), over_loopback, as_is)
    not_local = nft.match_address(_DESTINATION, "127.0.0.1", equal=False)
    batch.add_rule("output", marked, over_loopback, not_local, tcp, nft.redirect(INBOUND_PORT))
    batch.add_rule("output", marked, as_is)
    batch.add_rule("output", nft.match_address(_DESTINATION, "127.0.0.0/8"), as_is)
    for port in interception.excluded_outbound_ports:
        batch.add_rule("output", tcp, nft.match_destination_port(port), as_is)
    for network in interception.excluded_ranges:
        batch.add_rule("output", nft.match_address(_DESTINATION, network), as_is)
    for port in interception.included_outbound_ports:
        batch.add_rule("output", tcp, nft.match_destination_port(port), to_envoy)
    if interception.included_ranges is None:
        batch.add_rule("output", tcp, to_envoy)
        return
    for network in interception.included_ranges:
        batch.add_rule("output", nft.match_address(_DESTINATION, network), tcp, to_envoy)


def _add_prerouting(batch: nft.Batch, interception: Interception) -> None:
    tcp = nft.match_protocol(nft.TCP)
    for port in interception.excluded_inbound_ports:
        batch.add_rule("prerouting", tcp, nft.match_destination_port(port), nft.decide(nft.RETURN))
    to_envoy = nft.redirect(INBOUND_PORT)
    if interception.included_inbound_ports is None:
        batch.add_rule("prerouting", tcp, to_envoy)
        return
    for port in interception.included_inbound_ports:
        batch.add_rule("prerouting", tcp, nft.match_destination_port(port), to_envoy)
