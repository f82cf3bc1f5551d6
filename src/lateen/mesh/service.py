"""Services as proxies know them: by host name and address.

Service row -> Service; host name -> Service; workload -> the ports on which services reach it.

Invariants: an address belongs to one service only, the oldest that claims it, so that no two virtual hosts or listeners
claim the same one. A port of a workload takes its protocol from the oldest service that targets it.
Source: Kubernetes' DNS specification; Istio's pilot/pkg/serviceregistry (instances of a proxy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.base.labels import matches
from lateen.base.names import Hostname, ObjectRef, service_hostname
from lateen.incremental.query import query
from lateen.mesh.inputs import (
    ENDPOINT_SLICES,
    PODS,
    SERVICES,
    SERVICES_BY_ADDRESS,
    SERVICES_BY_SELECTOR,
    SLICES_BY_ADDRESS,
)
from lateen.mesh.protocol import Protocol
from lateen.mesh.proxy import Proxy
from lateen.mesh.rows import Labels, ServicePort
from lateen.mesh.visibility import mesh_settings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service that proxies can be told about."""

    ref: ObjectRef
    host: Hostname
    addresses: tuple[str, ...]
    """The virtual addresses that are its own."""
    headless: bool
    ports: tuple[ServicePort, ...]
    """TCP ports, by number."""


class Workload(msgspec.Struct, frozen=True):
    """What inbound configuration depends on; replicas of a workload have equal ones."""

    namespace: str
    labels: Labels
    ports: tuple[tuple[str, int], ...]
    """Named container ports, of which the first of a name counts."""


class Target(msgspec.Struct, frozen=True, order=True):
    """A port of a workload that a service sends to; ordered by the service's age."""

    created: str
    ref: ObjectRef
    service_port: int
    port: int


@query
def find_service(db: Database, ref: ObjectRef) -> Service | None:
    """Return the service of a Service object; an alias of an external name is none."""
    row = db.get(SERVICES, ref)
    if row is None or row.external_name:
        return None
    numbers: dict[int, ServicePort] = {}
    for port in row.ports:
        if port.protocol is not Protocol.UDP:
            numbers.setdefault(port.number, port)
    return Service(
        ref=ref,
        host=service_hostname(ref.name, ref.namespace, mesh_settings(db).cluster_domain),
        addresses=tuple(address for address in row.addresses if find_owner(db, address) == ref),
        headless=row.headless,
        ports=tuple(numbers[number] for number in sorted(numbers)),
    )


@query
def find_owner(db: Database, address: str) -> ObjectRef | None:
    """Return the oldest of the services that claim a virtual address."""
    claims = db.lookup(SERVICES_BY_ADDRESS, address)
    if len(claims) <= 1:
        return claims[0] if claims else None
    return min(claims, key=lambda ref: (_created(db, ref), ref))


def find_service_ref(host: str, cluster_domain: str) -> ObjectRef | None:
    """Return the Service that a fully qualified host name stands for."""
    name, _, rest = host.partition(".")
    namespace, _, domain = rest.partition(".")
    return ObjectRef("Service", namespace, name) if domain == f"svc.{cluster_domain}" else None


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
            row, service = db.get(SERVICES, ref), find_service(db, ref)
            if row is None or service is None or not matches(dict(row.selector), labels):
                continue
            for port in service.ports:
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
    return tuple(sorted(found))


def _created(db: Database, ref: ObjectRef) -> str:
    row = db.get(SERVICES, ref)
    return "" if row is None else row.created
