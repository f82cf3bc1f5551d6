"""Services as proxies know them: by host name and address.

Service row -> Service; host name -> Service; workload -> the ports on which services reach it.

Invariants: a port of an address belongs to one service only, the oldest that claims it, so that no two virtual hosts
claim the same one. A port of a workload takes its protocol from the oldest service that targets it.
Source: Kubernetes' DNS specification; Istio's pilot/pkg/serviceregistry (instances of a proxy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.base.labels import matches
from lateen.base.names import Hostname, ObjectRef, service_hostname
from lateen.incremental.query import query
from lateen.mesh.hostname import find_service_ref
from lateen.mesh.indexes import (
    SERVICES_BY_ADDRESS,
    SERVICES_BY_ENDPOINT,
    SERVICES_BY_SELECTOR,
    SLICES_BY_ADDRESS,
)
from lateen.mesh.inputs import ENDPOINT_SLICES, PODS, SERVICES
from lateen.mesh.protocol import Protocol
from lateen.mesh.proxy import Proxy
from lateen.mesh.rows import Labels, Port, Resolution, ServicePort, ServiceRef, ServiceRow
from lateen.mesh.visibility import find_declared, list_twins, mesh_settings, resolve_twin

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service that proxies can be told about."""

    ref: ServiceRef
    created: str
    host: Hostname
    addresses: tuple[str, ...]
    """The virtual addresses that it claims, CIDRs among them; see `find_owner`."""
    headless: bool
    ports: tuple[Port, ...]
    """TCP ports, by number."""
    resolution: Resolution
    external: bool
    """Whether it is outside of the mesh."""
    subject_alt_names: tuple[str, ...] = ()
    """Names of which its certificate must carry one, beside the identities of its backends."""


class Workload(msgspec.Struct, frozen=True):
    """What inbound configuration depends on; replicas of a workload have equal ones."""

    namespace: str
    labels: Labels
    ports: tuple[tuple[str, int], ...]
    """Named container ports, of which the first of a name counts."""


class Target(msgspec.Struct, frozen=True, order=True):
    """A port of a workload that a service sends to; ordered by the service's age."""

    created: str
    ref: ServiceRef
    service_port: int
    port: int


@query
def find_service(db: Database, ref: ServiceRef) -> Service | None:
    """Return the service of an object; an alias of an external name is none."""
    row = db.get(SERVICES, ref)
    if row is None or row.external_name:
        return None
    settings = mesh_settings(db)
    rows = [twin for twin in (db.get(SERVICES, one) for one in list_twins(db, ref)) if twin is not None]
    numbers: dict[int, Port] = {}
    for port in (port for one in rows for port in one.ports):
        if port.protocol is not Protocol.UDP:
            numbers.setdefault(port.number, Port(port.name, port.number, port.protocol))
    return Service(
        ref=ref,
        created=row.created,
        host=Hostname(row.host) or service_hostname(ref.name, ref.namespace, settings.cluster_domain),
        addresses=tuple(dict.fromkeys(address for one in rows for address in one.addresses)),
        headless=row.headless,
        ports=tuple(numbers[number] for number in sorted(numbers)),
        resolution=row.resolution,
        external=row.external,
        subject_alt_names=row.subject_alt_names,
    )


def find_port(service: Service | None, number: int) -> Port | None:
    """Return the port of a service with a number."""
    return None if service is None else next((port for port in service.ports if port.number == number), None)


def _list_own_ports(row: ServiceRow) -> list[ServicePort]:
    """Return the TCP ports of a Service; of several with one number the first counts."""
    numbers: dict[int, ServicePort] = {}
    for port in row.ports:
        if port.protocol is not Protocol.UDP:
            numbers.setdefault(port.number, port)
    return list(numbers.values())


def find_owner(db: Database, address: str, port: int) -> ServiceRef | None:
    """Return the oldest of the services that claim a virtual address and a port of it."""
    rows = ((ref, db.get(SERVICES, ref)) for ref in db.lookup(SERVICES_BY_ADDRESS, address))
    claims = [(row.created, ref) for ref, row in rows if row and any(one.number == port for one in row.ports)]
    return resolve_twin(db, min(claims)[1]) if claims else None


def find_service_by_host(db: Database, host: str, viewer: str) -> Service | None:
    """Return the service that a viewer knows by a fully qualified host."""
    ref = find_declared(db, host, viewer)
    return None if ref is None else find_service(db, ref)


@query
def find_alias(db: Database, host: str) -> str | None:
    """Return the host that an ExternalName Service, named by its own host, stands for."""
    ref = find_service_ref(host, mesh_settings(db).cluster_domain)
    row = None if ref is None else db.get(SERVICES, ref)
    return row.external_name or None if row is not None else None


@query
def find_workload(db: Database, proxy: Proxy) -> Workload:
    """Return the workload of a proxy: its pod's when known, otherwise what the proxy says."""
    pod = db.get(PODS, proxy.pod)
    if pod is None:
        return Workload(proxy.namespace, proxy.labels, ())
    return Workload(proxy.namespace, pod.labels, pod.ports)


@query
def targets(
    db: Database, workload: Workload, addressed: tuple[Target, ...]
) -> tuple[tuple[int, tuple[Target, ...]], ...]:
    """Return the ports of a workload that services send to: (port, its targets, oldest first).

    `addressed` are the targets that only an EndpointSlice names; see `addressed_targets`.
    """
    found = {*selected_targets(db, workload), *addressed}
    ports = sorted({target.port for target in found})
    return tuple((port, tuple(sorted(target for target in found if target.port == port))) for port in ports)


@query
def selected_targets(db: Database, workload: Workload) -> frozenset[Target]:
    """Return the ports to which services that select the workload send."""
    labels = dict(workload.labels)
    named = dict(reversed(workload.ports))
    found = set()
    for label in workload.labels:
        for ref in db.lookup(SERVICES_BY_SELECTOR, (workload.namespace, *label)):
            row = db.get(SERVICES, ref)
            if row is None or row.external_name or not matches(dict(row.selector), labels):
                continue
            for port in _list_own_ports(row):
                number = port.target if isinstance(port.target, int) else named.get(port.target)
                if number is not None:
                    found.add(Target(row.created, ref, port.number, number))
    return frozenset(found)


@query
def addressed_targets(db: Database, addresses: tuple[str, ...]) -> tuple[Target, ...]:
    """Return the ports to which services without selector send, found by a proxy's addresses."""
    found = set()
    for address in addresses:
        for slice_ref in db.lookup(SLICES_BY_ADDRESS, address):
            endpoints = db.get(ENDPOINT_SLICES, slice_ref)
            assert endpoints is not None, "an index names a row that is not there"
            ref = ObjectRef("Service", slice_ref.namespace, endpoints.service)
            row, service = db.get(SERVICES, ref), find_service(db, ref)
            if row is None or service is None or row.selector:
                continue
            numbers = dict(endpoints.ports)
            for port in service.ports:
                if port.name in numbers:
                    found.add(Target(row.created, ref, port.number, numbers[port.name]))
        for entry in db.lookup(SERVICES_BY_ENDPOINT, address):
            found.update(_list_entry_targets(db, entry, address))
    return tuple(sorted(found))


def _list_entry_targets(db: Database, ref: ServiceRef, address: str) -> list[Target]:
    row = db.get(SERVICES, ref)
    assert row is not None, "an index names a row that is not there"
    found = []
    for endpoint in row.endpoints:
        if endpoint.address == address:
            numbers = dict(endpoint.ports)
            for port in row.ports:
                target = numbers.get(port.name, port.target)
                if isinstance(target, int) and port.protocol is not Protocol.UDP:
                    found.append(Target(row.created, ref, port.number, target))
    return found
