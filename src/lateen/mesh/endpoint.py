"""What stands behind a service's port: addresses, and who answers there.

EndpointSlice rows, or what a ServiceEntry lists, joined with Pod rows -> backends of (service, port).

Invariants: backends are sorted by address; one that is not ready is kept, marked, because who may answer (identities,
mutual TLS) must not change when the last ready one goes. `mutual_tls` says that a sidecar stands before the backend
and does not refuse it on this port.
Source: Kubernetes' page "EndpointSlices"; Istio's endpoint builder (mtlsChecker).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.base.hosts import is_wildcard
from lateen.base.names import ObjectRef, SpiffeUri
from lateen.base.spiffe import format_spiffe, workload_identity
from lateen.incremental.query import query
from lateen.mesh.authn import MutualTls, peer_policy
from lateen.mesh.indexes import PODS_BY_ADDRESS, PODS_BY_LABEL, SLICES_BY_SERVICE
from lateen.mesh.inputs import ENDPOINT_SLICES, PODS, SERVICES
from lateen.mesh.rows import (
    EntryEndpoint,
    EntryHost,
    Labels,
    Resolution,
    ServicePort,
    ServiceRef,
    ServiceRow,
    SliceEndpoint,
)
from lateen.mesh.service import find_port, find_service
from lateen.mesh.visibility import list_twins, mesh_settings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


_RESOLVED = {Resolution.DNS, Resolution.DNS_ROUND_ROBIN}


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of a service's port."""

    address: str
    port: int
    ready: bool
    mutual_tls: bool = False
    namespace: str = ""
    workload: str = ""
    """Name of its workload; empty when no pod is known behind the address."""
    service_account: str = ""
    labels: Labels = ()
    locality: str = ""
    """Place, as `region/zone/subzone`; empty when unknown."""
    weight: int = 1


@query
def backends(db: Database, ref: ServiceRef, port_number: int) -> tuple[Backend, ...]:
    """Return every backend of a service's port, sorted by address and port."""
    if isinstance(ref, EntryHost):
        return _find_entry_backends(db, ref, port_number)
    row, service = db.get(SERVICES, ref), find_service(db, ref)
    port = find_port(service, port_number)
    if row is None or port is None:
        return ()
    found: dict[tuple[str, int], Backend] = {}
    for slice_ref in db.lookup(SLICES_BY_SERVICE, ref):
        endpoints = db.get(ENDPOINT_SLICES, slice_ref)
        assert endpoints is not None, "an index names a row that is not there"
        for name, number in endpoints.ports:
            if name != port.name:
                continue
            for endpoint in endpoints.endpoints:
                ready = endpoint.ready or row.publish_not_ready
                found[endpoint.address, number] = _build_backend(db, ref.namespace, endpoint, number, ready=ready)
    return tuple(found[key] for key in sorted(found))


def _find_entry_backends(db: Database, ref: EntryHost, port_number: int) -> tuple[Backend, ...]:
    """Return what ServiceEntries list or select; one that resolves names and lists none means its own host."""
    found: dict[tuple[str, int], Backend] = {}
    for twin in list_twins(db, ref):
        row = db.get(SERVICES, twin)
        port = None if row is None else next((one for one in row.ports if one.number == port_number), None)
        if row is None or port is None:
            continue
        listed = [_build_entry_backend(row, port, endpoint) for endpoint in row.endpoints]
        for backend in (*listed, *_select_pods(db, twin.namespace, row, port)):
            found.setdefault((backend.address, backend.port), backend)
    row = db.get(SERVICES, ref)
    if not found and row is not None and row.resolution in _RESOLVED and not is_wildcard(row.host):
        for port in (port for port in row.ports if port.number == port_number):
            target = port.target if isinstance(port.target, int) else port.number
            found[row.host, target] = Backend(address=row.host, port=target, ready=True)
    return tuple(found[key] for key in sorted(found))


def _build_entry_backend(row: ServiceRow, port: ServicePort, endpoint: EntryEndpoint) -> Backend:
    target = port.target if isinstance(port.target, int) else port.number
    return Backend(
        address=endpoint.address,
        port=dict(endpoint.ports).get(port.name, target),
        ready=True,
        mutual_tls=endpoint.mutual_tls and not row.external,
        service_account=endpoint.service_account,
        labels=endpoint.labels,
        locality=endpoint.locality,
        weight=endpoint.weight or 1,
    )


def _select_pods(db: Database, namespace: str, row: ServiceRow, port: ServicePort) -> list[Backend]:
    """Return the pods that the workload selector of a ServiceEntry finds."""
    if not row.selector:
        return []
    target = port.target if isinstance(port.target, int) else port.number
    found = []
    for pod_ref in db.lookup(PODS_BY_LABEL, (namespace, *row.selector[0])):
        pod = db.get(PODS, pod_ref)
        if pod is None or not set(row.selector) <= set(pod.labels):
            continue
        for address in pod.addresses[:1]:
            endpoint = SliceEndpoint(address=address, ready=True, pod=pod_ref.name)
            found.append(_build_backend(db, namespace, endpoint, target, ready=True))
    return found


def _build_backend(db: Database, namespace: str, endpoint: SliceEndpoint, port: int, *, ready: bool) -> Backend:
    pod_ref = _find_pod(db, namespace, endpoint)
    pod = None if pod_ref is None else db.get(PODS, pod_ref)
    if pod_ref is None or pod is None:
        return Backend(address=endpoint.address, port=port, ready=ready)
    policy = peer_policy(db, pod_ref.namespace, pod.labels)
    return Backend(
        address=endpoint.address,
        port=port,
        ready=ready,
        mutual_tls=pod.takes_mutual_tls and policy.get_mode(port) is not MutualTls.DISABLE,
        namespace=pod_ref.namespace,
        workload=pod.workload,
        service_account=pod.service_account,
        labels=pod.labels,
    )


def _find_pod(db: Database, namespace: str, endpoint: SliceEndpoint) -> ObjectRef | None:
    if endpoint.pod:
        return ObjectRef("Pod", namespace, endpoint.pod)
    return next(iter(db.lookup(PODS_BY_ADDRESS, endpoint.address)), None)


@query
def identities(db: Database, ref: ServiceRef, port_number: int) -> tuple[SpiffeUri, ...]:
    """Return the SPIFFE ids of those who may answer on a service's port, sorted."""
    domain = mesh_settings(db).trust_domain
    accounts = {
        (backend.namespace, backend.service_account)
        for backend in backends(db, ref, port_number)
        if backend.service_account
    }
    return tuple(
        format_spiffe(workload_identity(namespace, account, trust_domain=domain))
        for namespace, account in sorted(accounts)
    )


@query
def takes_mutual_tls(db: Database, ref: ServiceRef, port_number: int) -> bool | None:
    """Whether all (True), some (False) or, as there is none, no (None) backends take mutual TLS."""
    modes = {backend.mutual_tls for backend in backends(db, ref, port_number)}
    return None if not modes else modes == {True}
