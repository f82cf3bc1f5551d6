"""Whether something stands behind what is routed: pods of subsets, ready endpoints of Services.

Object -> diagnostics IST0173 (of DestinationRules), LTN0401 (of VirtualServices).

Invariants: only Kubernetes Services are looked at, since only their pods are known; labels of the topology are those of
nodes, and say nothing about pods.
Source: Istio's page of IST0173; Kubernetes' page "EndpointSlices".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic
from lateen.base.labels import matches
from lateen.base.names import ObjectRef
from lateen.galley.part import list_destinations
from lateen.galley.reference import find_destination
from lateen.incremental.query import query
from lateen.mesh.indexes import PODS_BY_LABEL, SLICES_BY_SERVICE
from lateen.mesh.inputs import DESTINATION_RULES, ENDPOINT_SLICES, PODS, SERVICES, VIRTUAL_SERVICES
from lateen.mesh.rows import EntryHost, Labels, ServiceRef

if TYPE_CHECKING:
    from lateen.incremental.database import Database

_TOPOLOGY = "topology."


@query
def check_subsets(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return the subsets of a DestinationRule that no pod of its Service is in."""
    row = db.get(DESTINATION_RULES, ref)
    service = None if row is None else find_destination(db, row.spec.host, ref.namespace)
    if row is None or service is None or isinstance(service, EntryHost):
        return ()
    found = db.get(SERVICES, service)
    if found is None or not found.selector:
        return ()
    pods = [dict(labels) for labels in selected_labels(db, service.namespace, found.selector)]
    wrong = []
    for place, subset in enumerate(row.spec.subsets):
        wanted = {name: value for name, value in subset.labels.items() if not name.startswith(_TOPOLOGY)}
        if wanted and not any(matches(wanted, labels) for labels in pods):
            path = f"spec.subsets[{place}]"
            wrong.append(
                build_diagnostic("IST0173", subject=str(ref), path=path, subset=subset.name, host=row.spec.host)
            )
    return tuple(wrong)


@query
def selected_labels(db: Database, namespace: str, selector: Labels) -> tuple[Labels, ...]:
    """Return the labels of the pods of a namespace that a selector, which is not empty, finds."""
    rows = (db.get(PODS, pod) for pod in db.lookup(PODS_BY_LABEL, (namespace, *selector[0])))
    return tuple(row.labels for row in rows if row is not None and set(selector) <= set(row.labels))


@query
def check_endpoints(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return the destinations of a VirtualService that nothing answers for."""
    row = db.get(VIRTUAL_SERVICES, ref)
    wrong = []
    for path, destination in list_destinations(row.spec) if row is not None else ():
        service = find_destination(db, destination.host, ref.namespace) if destination.host else None
        if service is not None and not has_endpoints(db, service):
            name = f"{service.namespace}/{service.name}"
            wrong.append(build_diagnostic("LTN0401", subject=str(ref), path=f"{path}.host", name=name))
    return tuple(wrong)


@query
def has_endpoints(db: Database, ref: ServiceRef) -> bool:
    """Whether a service has a ready endpoint, or is of a kind whose endpoints are not listed."""
    row = db.get(SERVICES, ref)
    if row is None or isinstance(ref, EntryHost) or row.external_name:
        return True
    slices = (db.get(ENDPOINT_SLICES, one) for one in db.lookup(SLICES_BY_SERVICE, ref))
    endpoints = [endpoint for found in slices if found is not None for endpoint in found.endpoints]
    return any(endpoint.ready or row.publish_not_ready for endpoint in endpoints)
