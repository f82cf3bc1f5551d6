"""What stands behind a service's port: addresses, and who answers there.

EndpointSlice rows joined with Pod rows -> backends of (service, port).

Invariants: backends are sorted by address; one that is not ready is kept, marked, because who may answer (identities,
mutual TLS) must not change when the last ready one goes. `mutual_tls` says that a sidecar stands before the backend
and does not refuse it on this port.
Source: Kubernetes' page "EndpointSlices"; Istio's endpoint builder (mtlsChecker).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.base.names import ObjectRef, SpiffeUri
from lateen.base.spiffe import format_spiffe, workload_identity
from lateen.incremental.query import query
from lateen.mesh.authn import MutualTls, peer_policy
from lateen.mesh.inputs import ENDPOINT_SLICES, PODS, PODS_BY_ADDRESS, SERVICES, SLICES_BY_SERVICE
from lateen.mesh.rows import Labels, SliceEndpoint
from lateen.mesh.service import find_service
from lateen.mesh.visibility import mesh_settings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


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


@query
def backends(db: Database, ref: ObjectRef, port_number: int) -> tuple[Backend, ...]:
    """Return every backend of a service's port, sorted by address and port."""
    row, service = db.get(SERVICES, ref), find_service(db, ref)
    port_name = next((port.name for port in service.ports if port.number == port_number), None) if service else None
    if row is None or port_name is None:
        return ()
    found: dict[tuple[str, int], Backend] = {}
    for slice_ref in db.lookup(SLICES_BY_SERVICE, ref):
        endpoints = db.get(ENDPOINT_SLICES, slice_ref)
        assert endpoints is not None, "an index names a row that is not there"
        for name, number in endpoints.ports:
            if name != port_name:
                continue
            for endpoint in endpoints.endpoints:
                ready = endpoint.ready or row.publish_not_ready
                found[endpoint.address, number] = _build_backend(db, ref.namespace, endpoint, number, ready=ready)
    return tuple(found[key] for key in sorted(found))


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
def identities(db: Database, ref: ObjectRef, port_number: int) -> tuple[SpiffeUri, ...]:
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
def takes_mutual_tls(db: Database, ref: ObjectRef, port_number: int) -> bool | None:
    """Whether all (True), some (False) or, as there is none, no (None) backends take mutual TLS."""
    modes = {backend.mutual_tls for backend in backends(db, ref, port_number)}
    return None if not modes else modes == {True}
