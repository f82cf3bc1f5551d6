"""How VirtualServices and Gateways fit: hosts that no server offers, Gateways that no pod is.

Object -> diagnostics IST0132 (of VirtualServices), IST0101 (of Gateways without pods).

Source: Istio's pages of both codes; Gateway reference on `namespace/host`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lateen.api.gateway import GatewaySpec
from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic
from lateen.base.hosts import intersect
from lateen.base.labels import matches
from lateen.base.names import ObjectRef
from lateen.galley.reference import gateway_ref, resolve
from lateen.incremental.query import query
from lateen.mesh.indexes import MESH_GATEWAY, list_gateways
from lateen.mesh.inputs import GATEWAYS, PODS, VIRTUAL_SERVICES
from lateen.mesh.rows import Labels

if TYPE_CHECKING:
    from lateen.incremental.database import Database


@query
def check_binding(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return the hosts of a VirtualService that a gateway of it does not offer to its namespace."""
    row = db.get(VIRTUAL_SERVICES, ref)
    wrong: list[Diagnostic] = []
    for name in list_gateways(ref, row.spec.gateways) if row is not None and row.spec.gateways else ():
        gateway_at = gateway_ref(name, ref.namespace)
        gateway = db.get(GATEWAYS, gateway_at)
        if row is None or name == MESH_GATEWAY or gateway is None:
            continue
        offered = list(_list_offered(gateway.spec, gateway_at.namespace, ref.namespace))
        for place, host in enumerate(row.spec.hosts):
            meant = (host, resolve(db, host, ref.namespace))
            if not any(intersect(one, each) for one in offered for each in meant):
                path = f"spec.hosts[{place}]"
                wrong.append(build_diagnostic("IST0132", subject=str(ref), path=path, host=host, gateway=name))
    return tuple(wrong)


def _list_offered(spec: GatewaySpec, gateway_namespace: str, namespace: str) -> Iterator[str]:
    for host in (host for server in spec.servers for host in server.hosts):
        owner, slash, name = host.rpartition("/")
        if not slash or owner == "*" or (gateway_namespace if owner == "." else owner) == namespace:
            yield name


@query
def check_gateway_pods(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return whether no pod carries the labels that a Gateway selects."""
    row = db.get(GATEWAYS, ref)
    if row is None or not row.spec.selector:
        return ()
    if any(matches(row.spec.selector, dict(labels)) for labels in pod_labels(db)):
        return ()
    selector = ",".join(f"{name}={value}" for name, value in sorted(row.spec.selector.items()))
    return (build_diagnostic("IST0101", subject=str(ref), path="spec.selector", kind="selector", name=f'"{selector}"'),)


@query
def pod_labels(db: Database) -> frozenset[Labels]:
    """Return the sets of labels that pods carry."""
    return frozenset(pod.labels for pod in (db.get(PODS, ref) for ref in db.keys(PODS)) if pod is not None)
