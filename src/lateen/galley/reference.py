"""What VirtualServices and DestinationRules name that is not there: hosts, subsets, gateways, delegates.

Object -> diagnostics IST0101.

Invariants: a subset counts as known when any DestinationRule for the host defines it, because which one holds depends
on the client; a host counts as known when the object's own namespace sees it.
Source: Istio's pkg/config/analysis/analyzers (virtualservice/destinationhosts, destinationrules, gateways).
We differ: Istio looks neither at delegates nor at the gateways of matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic
from lateen.base.hosts import is_wildcard
from lateen.base.names import ObjectRef
from lateen.galley.part import list_destinations, list_gateway_names
from lateen.incremental.query import query
from lateen.mesh.hostname import list_wildcards, resolve_host
from lateen.mesh.indexes import MESH_GATEWAY
from lateen.mesh.inputs import DESTINATION_RULES, GATEWAYS, VIRTUAL_SERVICES
from lateen.mesh.rows import ServiceRef
from lateen.mesh.visibility import find_declared, mesh_settings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


@query
def find_destination(db: Database, host: str, namespace: str) -> ServiceRef | None:
    """Return the service that a host means to an object of a namespace; a wildcard ServiceEntry may cover it."""
    full = resolve_host(host, namespace, mesh_settings(db).short_name_domain)
    exact = find_declared(db, full, namespace)
    if exact is not None:
        return exact
    covering = (find_declared(db, wildcard, namespace) for wildcard in list_wildcards(full))
    return next((ref for ref in covering if ref is not None), None)


@query
def check_references(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return the names in a VirtualService that nothing bears."""
    row = db.get(VIRTUAL_SERVICES, ref)
    if row is None:
        return ()
    wrong = []
    for path, name in list_gateway_names(row.spec):
        if name != MESH_GATEWAY and db.get(GATEWAYS, gateway_ref(name, ref.namespace)) is None:
            wrong.append(_miss(ref, path, "gateway", name))
    for path, destination in list_destinations(row.spec):
        host, subset = destination.host, destination.subset
        if not host:
            continue
        if find_destination(db, host, ref.namespace) is None:
            wrong.append(_miss(ref, f"{path}.host", "host", host))
        elif subset and subset not in subset_names(db, resolve(db, host, ref.namespace)):
            wrong.append(_miss(ref, f"{path}.subset", "host+subset in destinationrule", f"{host}+{subset}"))
    for place, route in enumerate(row.spec.http):
        if route.delegate is not None:
            target = ObjectRef(ref.kind, route.delegate.namespace or ref.namespace, route.delegate.name)
            if db.get(VIRTUAL_SERVICES, target) is None:
                name = f"{target.namespace}/{target.name}"
                wrong.append(_miss(ref, f"spec.http[{place}].delegate.name", "VirtualService", name))
    return tuple(wrong)


@query
def check_rule_host(db: Database, ref: ObjectRef) -> tuple[Diagnostic, ...]:
    """Return whether the host of a DestinationRule is missing."""
    row = db.get(DESTINATION_RULES, ref)
    if row is None or is_wildcard(row.spec.host) or find_destination(db, row.spec.host, ref.namespace) is not None:
        return ()
    return (_miss(ref, "spec.host", "host", row.spec.host),)


def subset_names(db: Database, host: str) -> frozenset[str]:
    """Return the subsets that DestinationRules define for a fully qualified host."""
    known = subsets_by_host(db)
    return frozenset[str]().union(*(known.get(one, ()) for one in (host.lower(), *list_wildcards(host))))


@query
def subsets_by_host(db: Database) -> Mapping[str, frozenset[str]]:
    """Return host or wildcard -> names of the subsets that DestinationRules define for it."""
    names: dict[str, frozenset[str]] = {}
    for ref in db.keys(DESTINATION_RULES):
        row = db.get(DESTINATION_RULES, ref)
        if row is not None:
            host = resolve(db, row.spec.host, ref.namespace).lower()
            names[host] = names.get(host, frozenset()) | {subset.name for subset in row.spec.subsets}
    return MappingProxyType(names)


def resolve(db: Database, host: str, namespace: str) -> str:
    """Return the fully qualified host that an object of a namespace means."""
    return resolve_host(host, namespace, mesh_settings(db).short_name_domain)


def gateway_ref(name: str, namespace: str) -> ObjectRef:
    """Return the Gateway that a VirtualService of a namespace means by `name` or `namespace/name`."""
    owner, slash, own = name.rpartition("/")
    return ObjectRef("Gateway", owner if slash else namespace, own)


def _miss(ref: ObjectRef, path: str, kind: str, name: str) -> Diagnostic:
    return build_diagnostic("IST0101", subject=str(ref), path=path, kind=kind, name=f'"{name}"')
