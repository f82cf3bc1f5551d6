"""Analysis of a configuration: every mistake that its objects make together.

Documents -> Database -> diagnostics, sorted by object and field. `analyze` is for a database that exists already.

| object | looked at |
| --- | --- |
| VirtualService | its own fields, what it names, other routes of its hosts, its gateways, endpoints behind it |
| DestinationRule | its host, pods of its subsets |
| Gateway | pods it selects |

Invariants: pure; an object that cannot be read has its decoding errors (IST0106) and no other finding. What asks for
pods is left out where no workloads are known, as with files alone.
Source: Istio's pkg/config/analysis, codes and levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lateen.api.codec import decode
from lateen.api.destination_rule import DestinationRule
from lateen.api.gateway import Gateway
from lateen.api.objects import kind_of, ref_of
from lateen.api.service_entry import ServiceEntry
from lateen.api.view import View
from lateen.api.virtual_service import VirtualService
from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic
from lateen.galley.backend import check_endpoints, check_subsets
from lateen.galley.binding import check_binding, check_gateway_pods
from lateen.galley.conflict import check_conflicts
from lateen.galley.reference import check_references, check_rule_host
from lateen.galley.validity import check_validity
from lateen.incremental.database import Database
from lateen.incremental.query import query
from lateen.mesh.inputs import DESTINATION_RULES, GATEWAYS, VIRTUAL_SERVICES, changes_of
from lateen.mesh.routing_rows import is_istio_gateway

if TYPE_CHECKING:
    from lateen.base.names import ObjectRef
    from lateen.incremental.inputs import Table
    from lateen.incremental.query import Query

    Check = Query[[ObjectRef], tuple[Diagnostic, ...]]

_CHECKS: tuple[tuple[Table[ObjectRef, Any], tuple[Check, ...]], ...] = (
    (VIRTUAL_SERVICES, (check_validity, check_references, check_conflicts, check_binding)),
    (DESTINATION_RULES, (check_rule_host,)),
)
_WORKLOAD_CHECKS: tuple[tuple[Table[ObjectRef, Any], tuple[Check, ...]], ...] = (
    (VIRTUAL_SERVICES, (check_endpoints,)),
    (DESTINATION_RULES, (check_subsets,)),
    (GATEWAYS, (check_gateway_pods,)),
)
_VIEWS: dict[str, type[View]] = {
    "VirtualService": VirtualService,
    "DestinationRule": DestinationRule,
    "Gateway": Gateway,
    "ServiceEntry": ServiceEntry,
}


def analyze_documents(documents: Iterable[Mapping[str, Any]], *, workloads: bool = True) -> tuple[Diagnostic, ...]:
    """Return the findings of objects that make up a whole mesh; the last of a name counts."""
    known = {ref_of(document): document for document in documents}
    db = Database()
    db.commit(change for document in known.values() for change in changes_of(kind_of(document), None, document))
    unreadable = (one for document in known.values() for one in find_decode_errors(document))
    return _sort((*unreadable, *analyze(db, workloads)))


@query
def analyze(db: Database, workloads: bool = True) -> tuple[Diagnostic, ...]:
    """Return the findings of a mesh."""
    groups = (*_CHECKS, *_WORKLOAD_CHECKS) if workloads else _CHECKS
    return _sort(
        one for table, checks in groups for ref in db.keys(table) for check in checks for one in check(db, ref)
    )


def find_decode_errors(document: Mapping[str, Any]) -> tuple[Diagnostic, ...]:
    """Return why an Istio document cannot be read, field by field."""
    kind = kind_of(document)
    if kind not in _VIEWS or (kind == "Gateway" and not is_istio_gateway(document)):
        return ()
    return tuple(
        build_diagnostic("IST0106", subject=str(ref_of(document)), path=error.path, error=error.message)
        for error in decode(document, _VIEWS[kind]).errors
    )


def _sort(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(set(found), key=lambda one: (one.subject, one.path, one.code, one.message)))
