"""What is wrong with a VirtualService by itself: weights, hosts, regular expressions.

VirtualService -> diagnostics IST0106, IST0122 and LTN0402.

Source: Istio's pkg/config/validation (validateWeights, validateStringMatchRegexp), which refuses these at admission;
here they are stored, and the route that has them answers an error (`translate.soundness`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lateen.api.virtual_service import VirtualServiceSpec
from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic
from lateen.base.names import ObjectRef
from lateen.galley.part import Share, list_destinations, list_expressions, list_routes
from lateen.incremental.query import query
from lateen.mesh.inputs import VIRTUAL_SERVICES
from lateen.translate.soundness import is_expression

if TYPE_CHECKING:
    from lateen.incremental.database import Database

_ANY = "*"  # what users write for `.*`; translation takes it for that.


@query
def check_validity(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return what a VirtualService has wrong whatever else there is."""
    row = db.get(VIRTUAL_SERVICES, ref)
    if row is None:
        return ()
    wrong = [
        build_diagnostic("IST0106", subject=str(ref), path=path, error=error) for path, error in _find_errors(row.spec)
    ]
    wrong += [
        build_diagnostic("IST0122", subject=str(ref), path=path, regex=regex)
        for path, regex in list_expressions(row.spec)
        if regex != _ANY and not is_expression(regex)
    ]
    if not row.spec.hosts and ref not in delegates(db):
        fix = "name the hosts that it routes, or delegate to it"
        wrong.append(build_diagnostic("LTN0402", subject=str(ref), path="spec.hosts", fix=fix))
    return tuple(wrong)


@query
def delegates(db: Database) -> frozenset[ObjectRef]:
    """Return the VirtualServices that others leave routes to, whether they exist or not."""
    found = set()
    for ref in db.keys(VIRTUAL_SERVICES):
        row = db.get(VIRTUAL_SERVICES, ref)
        for route in row.spec.http if row is not None else ():
            if route.delegate is not None:
                found.add(ObjectRef(ref.kind, route.delegate.namespace or ref.namespace, route.delegate.name))
    return frozenset(found)


def _find_errors(spec: VirtualServiceSpec) -> Iterator[tuple[str, str]]:
    for place, host in enumerate(spec.hosts):
        if not host:
            yield f"spec.hosts[{place}]", "a host must not be empty"
    for path, shares in list_routes(spec):
        yield from _find_weight_errors(path, shares)
    for path, destination in list_destinations(spec):
        if not destination.host:
            yield f"{path}.host", "a destination must name a host"


def _find_weight_errors(path: str, shares: tuple[Share, ...]) -> Iterator[tuple[str, str]]:
    negative = [(place, share.weight) for place, share in enumerate(shares) if share.weight < 0]
    for place, weight in negative:
        yield f"{path}[{place}].weight", f"weight {weight} is less than 0"
    if len(shares) > 1 and not negative and not any(share.weight for share in shares):
        yield path, "all weights are 0, so that no destination gets requests"
