"""VirtualServices of the mesh that route the same host.

VirtualService -> diagnostics IST0109, each naming the others.

Invariants: two conflict where a client sees both, by `exportTo`; VirtualServices of ingress gateways are merged and do
not conflict; nor do wildcards with the hosts that they cover, because the more specific one counts.
Source: Istio's page of IST0109.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic
from lateen.base.names import ObjectRef
from lateen.incremental.query import query
from lateen.mesh.hostname import list_host_keys, resolve_host
from lateen.mesh.indexes import MESH_GATEWAY, VIRTUAL_SERVICES_BY_HOST, list_gateways
from lateen.mesh.inputs import VIRTUAL_SERVICES
from lateen.mesh.visibility import mesh_settings

if TYPE_CHECKING:
    from lateen.incremental.database import Database

_ALL = "*"


@query
def check_conflicts(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return the hosts of a VirtualService that others route too."""
    row = db.get(VIRTUAL_SERVICES, ref)
    viewers = _find_viewers(db, ref)
    if row is None or not viewers:
        return ()
    domain = mesh_settings(db).short_name_domain
    wrong = []
    for place, host in enumerate(row.spec.hosts):
        full = resolve_host(host, ref.namespace, domain)
        found = {one for key in list_host_keys(full, domain) for one in db.lookup(VIRTUAL_SERVICES_BY_HOST, key)}
        others = sorted(one for one in found - {ref} if _overlap(viewers, _find_viewers(db, one)))
        if full and others:
            names = ", ".join(map(str, others))
            path = f"spec.hosts[{place}]"
            fix = "merge them into one, or limit each to a namespace with exportTo"
            wrong.append(build_diagnostic("IST0109", subject=str(ref), path=path, fix=fix, host=full, others=names))
    return tuple(wrong)


@query
def _find_viewers(db: Database, ref: ObjectRef) -> frozenset[str]:
    """Return the namespaces, or `*`, whose sidecars a VirtualService routes; none when it is for gateways only."""
    row = db.get(VIRTUAL_SERVICES, ref)
    if row is None or MESH_GATEWAY not in list_gateways(ref, row.spec.gateways):
        return frozenset()
    chosen = row.spec.export_to or mesh_settings(db).virtual_service_export_to
    return frozenset(ref.namespace if one == "." else one for one in chosen)


def _overlap(left: frozenset[str], right: frozenset[str]) -> bool:
    return bool(left and right) and (_ALL in left | right or bool(left & right))
