"""Cluster IPs for pods without a sidecar and for the node: destination NAT in the node namespace.

Flow: Service + EndpointSlices -> `build_elements` (what the kernel's maps hold for it); merged over all Services ->
`build_service_rules` (everything, once) or `build_service_changes` (the difference) -> atomic batches.

| chain                | does                                                                                       |
| -------------------- | ------------------------------------------------------------------------------------------ |
| prerouting, output   | goto dispatch                                                                              |
| dispatch             | (address, protocol, port) in map `ports`: goto its chain; the local addresses: as is; any    |
|                      | other address of the service network: refused                                              |
| pick-N               | random number below N; (address, protocol, port, number) in map `endpoints`: NAT to it     |
| refuse               | ICMP port unreachable: a port without endpoints fails at once                              |
| postrouting          | a pod that reached itself through its Service is masqueraded, else it would drop the packet  |

Invariants: two maps hold all Services, so a change costs its own elements and the number of chains does not grow with
Services; NAT chains see only the first packet of a connection, so connections keep their endpoint.
Source: kube-proxy's nftables mode. We differ: no session affinity, node ports or external addresses.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from lateen.api.core import Service
from lateen.api.discovery import Endpoint, EndpointSlice
from lateen.cluster.network import nft

TABLE = "lateen-services"
PORTS, ENDPOINTS, HAIRPINS = "ports", "endpoints", "hairpins"
_REFUSE = "refuse"
_PICK = "pick-"
_PROTOCOLS = {"TCP": nft.TCP, "UDP": nft.UDP}
_DESTINATION = 16
# An attribute holds 64 KiB and a batch one socket buffer (208 KiB); an element takes at most 56 bytes.
_ELEMENTS_PER_MESSAGE = 1000
_ELEMENTS_PER_BATCH = 3000

ElementKey = tuple[str, bytes]
"""Name of the set or map, key in it."""
Elements = Mapping[ElementKey, nft.Element]


class Target(NamedTuple):
    """One endpoint of a Service's port."""

    address: str
    port: int


def build_elements(service: Service, slices: Iterable[EndpointSlice]) -> Elements:
    """Return what the maps hold for a Service; nothing for headless Services and ExternalName."""
    address = service.spec.cluster_ip
    if address in ("", "None") or ":" in address or service.spec.type == "ExternalName":
        return {}
    slices = [each for each in slices if each.address_type == "IPv4"]
    elements: dict[ElementKey, nft.Element] = {}
    for port in service.spec.ports:
        if port.protocol not in _PROTOCOLS:
            continue
        key = socket.inet_aton(address) + struct.pack(">Bxxx Hxx", _PROTOCOLS[port.protocol], port.port)
        targets = find_targets(slices, port.name, port.protocol)
        chain = f"{_PICK}{len(targets)}" if targets else _REFUSE
        elements[PORTS, key] = nft.Element(key, chain=chain)
        for index, target in enumerate(targets):
            packed = socket.inet_aton(target.address)
            numbered = key + struct.pack("=I", index)
            data = packed + struct.pack(">Hxx", target.port)
            elements[ENDPOINTS, numbered] = nft.Element(numbered, data)
            elements[HAIRPINS, packed * 2] = nft.Element(packed * 2)
    return elements


def find_targets(slices: Sequence[EndpointSlice], name: str, protocol: str) -> tuple[Target, ...]:
    """Return the endpoints of a port in order of address: the ready ones, else those that still serve while ending."""
    ready: set[Target] = set()
    ending: set[Target] = set()
    for endpoint_slice in slices:
        numbers = [port.port for port in endpoint_slice.ports if (port.name, port.protocol) == (name, protocol)]
        for endpoint in endpoint_slice.endpoints:
            if not endpoint.addresses or not _is_address(endpoint.addresses[0]):
                continue
            found = {Target(endpoint.addresses[0], number) for number in numbers if number is not None}
            if endpoint.conditions.ready is not False:
                ready |= found
            elif _is_ending(endpoint):
                ending |= found
    return tuple(sorted(ready or ending))


def _is_address(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, text)
    except OSError:
        return False
    return True


def _is_ending(endpoint: Endpoint) -> bool:
    return endpoint.conditions.serving is True and endpoint.conditions.terminating is True


def merge_elements(services: Iterable[Elements]) -> Elements:
    """Return the elements of all Services; where two Services claim one key, the later one has it."""
    merged: dict[ElementKey, nft.Element] = {}
    for elements in services:
        merged.update(elements)
    return merged


def build_service_rules(elements: Elements, *, network: str, local_addresses: Sequence[str] = ()) -> list[nft.Batch]:
    """Return the batches that replace the table, whatever it held; the first is everything up to 3,000 elements.

    `network` holds all cluster IPs; processes of the node namespace itself answer at `local_addresses` when no Service
    has them.
    """
    # Created first, so that there is one to delete.
    base = nft.Batch(TABLE).add_table().delete_table().add_table()
    base.add_set(PORTS, 1, 12, data_bytes=0, flags=0)
    base.add_set(ENDPOINTS, 2, 16, data_bytes=8, flags=0)
    base.add_set(HAIRPINS, 3, 8, data_bytes=None, flags=0)
    base.add_chain(_REFUSE).add_rule(_REFUSE, nft.reject())
    base.add_chain("dispatch")
    base.add_rule("dispatch", _load_port(), nft.look_up(PORTS, to=0))
    for address in local_addresses:
        base.add_rule("dispatch", nft.match_address(_DESTINATION, address), nft.decide(nft.RETURN))
    base.add_rule("dispatch", nft.match_address(_DESTINATION, network), nft.reject())
    for chain, hook in (("prerouting", nft.HOOK_PREROUTING), ("output", nft.HOOK_OUTPUT)):
        base.add_base_chain(chain, "nat", hook, nft.PRIORITY_DESTINATION_NAT)
        base.add_rule(chain, nft.decide(nft.GOTO, "dispatch"))
    base.add_base_chain("postrouting", "nat", nft.HOOK_POSTROUTING, nft.PRIORITY_SOURCE_NAT)
    source_and_destination = nft.load_payload(nft.NETWORK_HEADER, 12, 8)
    base.add_rule("postrouting", source_and_destination, nft.look_up(HAIRPINS), nft.masquerade())
    return _build_batches(base, {}, elements)


def build_service_changes(old: Elements, new: Elements) -> list[nft.Batch]:
    """Return the batches from one state of the table to another; one unless more than 3,000 elements change."""
    return _build_batches(nft.Batch(TABLE), old, new)


def _build_batches(first: nft.Batch, old: Elements, new: Elements) -> list[nft.Batch]:
    counts, wanted_counts = _find_counts(old), _find_counts(new)
    removed = [key for key, element in old.items() if _differs(new.get(key), element)]
    added = [key for key, element in new.items() if _differs(old.get(key), element)]
    for count in sorted(wanted_counts - counts):
        _add_pick_chain(first, count)
    batches = [first]
    left = _ELEMENTS_PER_BATCH
    for keys, elements, change in ((removed, old, nft.Batch.delete_elements), (added, new, nft.Batch.add_elements)):
        for name, chunk in _iterate_chunks(keys):
            if left < len(chunk):
                batches.append(nft.Batch(TABLE))
                left = _ELEMENTS_PER_BATCH
            left -= len(chunk)
            change(batches[-1], name, [elements[name, key] for key in chunk])
    for count in sorted(counts - wanted_counts):
        batches[-1].flush_chain(f"{_PICK}{count}").delete_chain(f"{_PICK}{count}")
    return [batch for batch in batches if len(batch)]


def _differs(one: nft.Element | None, other: nft.Element) -> bool:
    # Most elements are of unchanged Services and the same objects as before.
    return one is not other and one != other


def _find_counts(elements: Elements) -> set[int]:
    chains = {element.chain for element in elements.values() if element.chain is not None}
    return {int(chain.removeprefix(_PICK)) for chain in chains if chain.startswith(_PICK)}


def _iterate_chunks(keys: Iterable[ElementKey]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield (set, keys), a Service's endpoints before the port that leads to them."""
    by_set: dict[str, list[bytes]] = {HAIRPINS: [], ENDPOINTS: [], PORTS: []}
    for name, key in keys:
        by_set[name].append(key)
    for name, found in by_set.items():
        rest = iter(found)
        while chunk := list(islice(rest, _ELEMENTS_PER_MESSAGE)):
            yield name, chunk


def _add_pick_chain(batch: nft.Batch, count: int) -> None:
    chain = f"{_PICK}{count}"
    number, target = nft.REGISTER + 3, nft.REGISTER + 4
    batch.add_chain(chain)
    batch.add_rule(
        chain,
        _load_port(),
        nft.load_random(count, number),
        nft.look_up(ENDPOINTS, to=target),
        nft.destination_nat(target, target + 1),
    )


def _load_port() -> bytes:
    """Destination address, protocol and destination port in three registers, as `ports` and `endpoints` key them."""
    return (
        nft.load_payload(nft.NETWORK_HEADER, _DESTINATION, 4)
        + nft.load_meta(nft.L4PROTO, nft.REGISTER + 1)
        + nft.load_payload(nft.TRANSPORT_HEADER, 2, 2, nft.REGISTER + 2)
    )
