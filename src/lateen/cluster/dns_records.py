"""Which records a name of the cluster has: (directory, name, type) -> `Answer`. Pure.

| name below cluster.local             | records                                                                    |
| ------------------------------------ | -------------------------------------------------------------------------- |
| `svc.ns.svc`                         | A: cluster IP; headless: every ready endpoint; ExternalName: CNAME, followed |
| `_port._protocol.svc.ns.svc`         | SRV, with the addresses of its targets beside                              |
| `host.svc.ns.svc`                    | A of the endpoint with that hostname, or 10-244-0-5 for one without        |
| `10-244-0-5.ns.pod`                  | A 10.244.0.5 (for any address, as kubeadm configures CoreDNS)              |
| `dns-version`                        | TXT 1.1.0                                                                  |
| `4.3.2.1.in-addr.arpa` of our ranges | PTR: the Service with this cluster IP, or those with this endpoint         |

Invariants: a name that exists without records of the type asked for is NOERROR, one that does not exist NXDOMAIN; a
name that has names below it exists. Every other name is `outside`: somebody else's to answer.
Source: Kubernetes DNS-Based Service Discovery 1.1.0; RFC 1034, 2308, 2782, 8020.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dnslib import CNAME, PTR, RCODE, RD, SOA, SRV, TXT, A

from lateen.api.core import Service, ServicePort
from lateen.api.discovery import EndpointSlice
from lateen.api.objects import ObjectKey
from lateen.cluster.service_directory import ServiceDirectory

DOMAIN = ("cluster", "local")
TTL_SECONDS = 5  # as CoreDNS: endpoints change
SCHEMA_VERSION = "1.1.0"
_REVERSE = ("in-addr", "arpa")
_NETWORKS = (ipaddress.IPv4Network("10.96.0.0/16"), ipaddress.IPv4Network("10.244.0.0/16"))
_DASHED_ADDRESS = re.compile(r"\d{1,3}(-\d{1,3}){3}")
_LONGEST_ALIAS_CHAIN = 8
_ANY = "ANY"

Labels = tuple[str, ...]
"""A name in lower case, most specific label first, without the root."""


class Record(NamedTuple):
    """One record; the name in `owner` is fully qualified."""

    owner: Labels
    data: RD


@dataclass(frozen=True)
class Answer:
    """What is known of a name; a name `outside` must be resolved elsewhere and its answer appended."""

    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    rcode: int = RCODE.NOERROR
    outside: Labels | None = None


NO_DATA = Answer()
NO_SUCH_NAME = Answer(rcode=RCODE.NXDOMAIN)


class _Host(NamedTuple):
    label: str
    address: str
    ports: dict[tuple[str, str], int]


def build_soa() -> Record:
    """Return the record that says how long a negative answer may be kept."""
    times = (1, 7200, 1800, 86400, TTL_SECONDS)
    return Record(DOMAIN, SOA(_dotted(("ns", "dns", *DOMAIN)), _dotted(("hostmaster", *DOMAIN)), times))


def answer(directory: ServiceDirectory, name: Labels, kind: str) -> Answer:
    """Return what the cluster knows of a name for a record type (`A`, `SRV`, ...)."""
    return _answer(directory, name, kind, _LONGEST_ALIAS_CHAIN)


def _answer(directory: ServiceDirectory, name: Labels, kind: str, aliases: int) -> Answer:
    if name[-2:] == _REVERSE:
        return _answer_reverse(directory, name, kind)
    if name[-2:] != DOMAIN:
        return Answer(outside=name)
    match name[:-2]:
        case () | ("svc",) | ("pod",):
            return _answer_apex(name, kind)
        case ("dns-version",):
            return _if_asked(kind, "TXT", [Record(name, TXT(SCHEMA_VERSION))])
        case ("ns", "dns") | ("dns",):
            return NO_DATA
        case (namespace, "svc" | "pod"):
            return NO_DATA if directory.has_namespace(namespace) else NO_SUCH_NAME
        case (dashed, namespace, "pod"):
            return _answer_pod(directory, name, dashed, namespace, kind)
        case (*rest, service_name, namespace, "svc"):
            service = directory.find_service(namespace, service_name)
            if service is not None:
                return _answer_service(directory, service, tuple(rest), name, kind, aliases)
    return NO_SUCH_NAME


def _answer_apex(name: Labels, kind: str) -> Answer:
    return _if_asked(kind, "SOA", [build_soa()]) if name == DOMAIN else NO_DATA


def _answer_pod(directory: ServiceDirectory, name: Labels, dashed: str, namespace: str, kind: str) -> Answer:
    address = dashed.replace("-", ".")
    if not _DASHED_ADDRESS.fullmatch(dashed) or not _is_address(address) or not directory.has_namespace(namespace):
        return NO_SUCH_NAME
    return _if_asked(kind, "A", [Record(name, A(address))])


def _answer_service(
    directory: ServiceDirectory, service: Service, rest: Labels, name: Labels, kind: str, aliases: int
) -> Answer:
    if service.spec.type == "ExternalName":
        return _answer_alias(directory, service, name, kind, aliases) if not rest else NO_SUCH_NAME
    slices = directory.find_slices(service.metadata.namespace, service.metadata.name)
    match rest:
        case ():
            if kind == "SRV":
                return _answer_ports(service, slices, service.spec.ports, name)
            return _if_asked(kind, "A", [Record(name, A(host.address)) for host in _find_targets(service, slices)])
        case (port, protocol) if port.startswith("_") and protocol.startswith("_"):
            wanted = (port[1:], protocol[1:].upper())
            ports = [each for each in service.spec.ports if (each.name, each.protocol) == wanted]
            if not ports:
                return NO_SUCH_NAME
            return _answer_ports(service, slices, ports, name) if kind in ("SRV", _ANY) else NO_DATA
        case (protocol,) if protocol.startswith("_"):
            known = any(each.name and each.protocol == protocol[1:].upper() for each in service.spec.ports)
            return NO_DATA if known else NO_SUCH_NAME
        case (label,):
            hosts = [host for host in _find_hosts(slices) if host.label == label]
            found = _if_asked(kind, "A", [Record(name, A(host.address)) for host in hosts])
            return found if hosts else NO_SUCH_NAME
    return NO_SUCH_NAME


def _answer_alias(directory: ServiceDirectory, service: Service, name: Labels, kind: str, aliases: int) -> Answer:
    target = tuple(service.spec.external_name.lower().rstrip(".").split("."))
    alias = Record(name, CNAME(_dotted(target)))
    if kind == "CNAME" or aliases == 0:
        return Answer((alias,))
    found = _answer(directory, target, kind, aliases - 1)
    return replace(found, records=(alias, *found.records))


def _answer_ports(
    service: Service, slices: Sequence[EndpointSlice], ports: Sequence[ServicePort], name: Labels
) -> Answer:
    base = (service.metadata.name, service.metadata.namespace, "svc", *DOMAIN)
    records: list[Record] = []
    additional: dict[Labels, Record] = {}
    for port in ports:
        for host in _find_targets(service, slices):
            number = host.ports.get((port.name, port.protocol))
            if number is not None:
                target = (host.label, *base) if host.label else base
                records.append(Record(name, SRV(0, 100, number, _dotted(target))))
                additional[target] = Record(target, A(host.address))
    return Answer(tuple(records), tuple(additional.values()))


def _find_targets(service: Service, slices: Sequence[EndpointSlice]) -> list[_Host]:
    """What stands behind the Service's own name: its cluster IP, or its endpoints when it is headless."""
    address = service.spec.cluster_ip
    if address in ("", "None"):
        return _find_hosts(slices)
    ports = {(port.name, port.protocol): port.port for port in service.spec.ports}
    return [_Host("", address, ports)] if _is_address(address) else []


def _find_hosts(slices: Sequence[EndpointSlice]) -> list[_Host]:
    """Ready endpoints by address; the endpoint controller marks all as ready if the Service publishes all."""
    found: dict[str, _Host] = {}
    for each in slices:
        ports = {(port.name, port.protocol): port.port for port in each.ports if port.port is not None}
        for endpoint in each.endpoints:
            address = next(iter(endpoint.addresses), "")
            if endpoint.conditions.ready is False or not _is_address(address):
                continue
            label = (endpoint.hostname or address.replace(".", "-")).lower()
            known = found.get(address)
            found[address] = _Host(label, address, {**known.ports, **ports} if known else ports)
    return [found[address] for address in sorted(found)]


def _answer_reverse(directory: ServiceDirectory, name: Labels, kind: str) -> Answer:
    text = ".".join(reversed(name[:-2]))
    if not _is_address(text) or not any(ipaddress.IPv4Address(text) in network for network in _NETWORKS):
        return Answer(outside=name)
    service = directory.find_by_cluster_ip(text)
    if service is not None:
        targets: list[Labels] = [(service.name, service.namespace)]
    else:
        targets = [found for key in directory.find_by_endpoint(text) for found in _find_endpoint(directory, key, text)]
    records = [Record(name, PTR(_dotted((*target, "svc", *DOMAIN)))) for target in targets]
    return _if_asked(kind, "PTR", records) if records else NO_SUCH_NAME


def _find_endpoint(directory: ServiceDirectory, key: ObjectKey, address: str) -> list[Labels]:
    hosts = _find_hosts(directory.find_slices(*key))
    return [(host.label, key.name, key.namespace) for host in hosts if host.address == address]


def _if_asked(kind: str, wanted: str, records: Sequence[Record]) -> Answer:
    return Answer(tuple(records)) if kind in (wanted, _ANY) else NO_DATA


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _dotted(labels: Labels) -> str:
    return ".".join(labels) + "."
