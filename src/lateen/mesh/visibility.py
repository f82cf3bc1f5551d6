"""What a proxy may see: the objects that outbound configuration is computed from.

Proxy's namespace and labels -> Scope -> services of a namespace that the scope sees.

Invariants: a Scope is the whole argument of outbound queries besides names, and equal scopes are one computation.
Where no object limits its export to certain namespaces, no namespace has rules of its own for others' services, and no
route asks who the client is, every proxy of the mesh has the same scope, except that routes also depend on the
namespace because of short host names. A host that several objects declare is one service: Kubernetes' Service, or the
oldest ServiceEntry.
Source: Istio's page "Service annotations" (`networking.istio.io/exportTo`: `*`, `.`, `~` or namespaces);
`MeshConfig.default*ExportTo`; pilot/pkg/model (SidecarScope). A Sidecar resource will narrow a scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.base.hosts import is_wildcard
from lateen.incremental.query import query
from lateen.mesh.hostname import find_service_ref, resolve_host
from lateen.mesh.indexes import (
    DESTINATION_RULES_BY_NAMESPACE,
    DESTINATION_RULES_BY_VIEWER,
    SERVICES_BY_HOST,
    SERVICES_BY_NAMESPACE,
    SERVICES_BY_PORT,
    SERVICES_BY_PORT_NUMBER,
    SERVICES_BY_VIEWER,
    VIRTUAL_SERVICES_BY_SOURCE,
    VIRTUAL_SERVICES_BY_VIEWER,
    list_sources,
)
from lateen.mesh.inputs import DESTINATION_RULES, MESH_CONFIG_REF, MESH_SETTINGS, SERVICES, VIRTUAL_SERVICES
from lateen.mesh.rows import EntryHost, Labels, ServiceRef
from lateen.mesh.settings import DEFAULT_SETTINGS, MeshSettings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class Scope(msgspec.Struct, frozen=True):
    """What outbound configuration depends on, beside its own name."""

    viewer: str
    """The namespace whose private objects are seen; empty for those who see just the public ones."""
    allow_any: bool
    """Whether what is not declared passes."""
    source_namespace: str = ""
    """The client's namespace, where a route asks for it."""
    source_labels: Labels = ()
    """Of the client's labels, those that a route asks for."""


@query
def mesh_settings(db: Database) -> MeshSettings:
    """Return the settings of the mesh."""
    return db.get(MESH_SETTINGS, MESH_CONFIG_REF) or DEFAULT_SETTINGS


@query
def find_scope(db: Database, namespace: str, labels: Labels = ()) -> Scope:
    """Return the scope of the proxies of a namespace that carry some labels."""
    keys, by_namespace = source_conditions(db)
    return Scope(
        namespace if _sees_more(db, namespace) else "",
        mesh_settings(db).allow_any,
        namespace if by_namespace else "",
        tuple(label for label in labels if label[0] in keys),
    )


def _sees_more(db: Database, namespace: str) -> bool:
    settings = mesh_settings(db)
    defaults = (
        settings.service_export_to,
        settings.virtual_service_export_to,
        settings.destination_rule_export_to,
    )
    if any("*" not in by_default and {".", namespace} & set(by_default) for by_default in defaults):
        return True
    if db.lookup(SERVICES_BY_VIEWER, namespace):
        return True
    if db.lookup(VIRTUAL_SERVICES_BY_VIEWER, namespace) or db.lookup(DESTINATION_RULES_BY_VIEWER, namespace):
        return True
    return has_foreign_rules(db, namespace)


@query
def has_foreign_rules(db: Database, namespace: str) -> bool:
    """Whether a namespace has DestinationRules for services of others, which hold for its own clients first."""
    domain = mesh_settings(db).short_name_domain
    for ref in db.lookup(DESTINATION_RULES_BY_NAMESPACE, namespace):
        row = db.get(DESTINATION_RULES, ref)
        assert row is not None, "an index names a row that is not there"
        host = resolve_host(row.spec.host, namespace, domain)
        if is_wildcard(host) or not host.endswith(f".{namespace}.{domain}"):
            return True
    return False


@query
def source_conditions(db: Database) -> tuple[frozenset[str], bool]:
    """Return the keys of the client's labels that routes ask for, and whether any asks for its namespace."""
    keys: set[str] = set()
    by_namespace = False
    for ref in db.lookup(VIRTUAL_SERVICES_BY_SOURCE, True):
        row = db.get(VIRTUAL_SERVICES, ref)
        assert row is not None, "an index names a row that is not there"
        for labels, namespace in list_sources(row.spec):
            keys.update(labels)
            by_namespace = by_namespace or bool(namespace)
    return frozenset(keys), by_namespace


@query
def service_namespaces(db: Database) -> tuple[str, ...]:
    """Return the namespaces that have services."""
    return tuple(sorted({ref.namespace for ref in db.keys(SERVICES)}))


@query
def visible_services(db: Database, namespace: str, viewer: str) -> tuple[ServiceRef, ...]:
    """Return the services of one namespace that a viewer sees."""
    found = db.lookup(SERVICES_BY_NAMESPACE, namespace)
    return tuple(ref for ref in found if is_seen(db, ref, viewer))


@query
def visible_services_on_port(db: Database, namespace: str, port: int, viewer: str) -> tuple[ServiceRef, ...]:
    """Return the services of one namespace with a port of this number that a viewer sees."""
    found = db.lookup(SERVICES_BY_PORT, (namespace, port))
    seen = (resolve_twin(db, ref) for ref in found if is_exported(db, ref, viewer))
    return tuple(ref for ref in dict.fromkeys(seen) if is_seen(db, ref, viewer))


@query
def port_namespaces(db: Database, port: int) -> tuple[str, ...]:
    """Return the namespaces that have a service with a port of this number."""
    return tuple(sorted({ref.namespace for ref in db.lookup(SERVICES_BY_PORT_NUMBER, port)}))


@query
def is_exported(db: Database, ref: ServiceRef, viewer: str) -> bool:
    """Whether a viewer sees a Service or a host of a ServiceEntry."""
    row = db.get(SERVICES, ref)
    return row is not None and sees(row.export_to, mesh_settings(db).service_export_to, ref.namespace, viewer)


def is_seen(db: Database, ref: ServiceRef, viewer: str) -> bool:
    """Whether a viewer knows the service of a host by this object, and not by another."""
    if not is_exported(db, ref, viewer):
        return False
    return not isinstance(ref, EntryHost) or find_declared(db, ref.host, viewer) == ref


def sees(export_to: tuple[str, ...], by_default: tuple[str, ...], namespace: str, viewer: str) -> bool:
    """Whether a viewer sees an object of a namespace."""
    chosen = export_to or by_default
    return "*" in chosen or (viewer != "" and (viewer in chosen or ("." in chosen and viewer == namespace)))


@query
def find_declared(db: Database, host: str, viewer: str) -> ServiceRef | None:
    """Return what declares a fully qualified host for a viewer."""
    ref = find_service_ref(host, mesh_settings(db).cluster_domain)
    if ref is not None and is_exported(db, ref, viewer):
        return ref
    entries = [ref for ref in db.lookup(SERVICES_BY_HOST, host.lower()) if is_exported(db, ref, viewer)]
    oldest = _oldest(db, entries)
    return None if oldest is None else resolve_twin(db, oldest)


def resolve_twin(db: Database, ref: ServiceRef) -> ServiceRef:
    """Return the ServiceEntry that stands for all which declare the same host in the same namespace."""
    twins = list_twins(db, ref)
    return twins[0] if twins else ref


def list_twins(db: Database, ref: ServiceRef) -> tuple[ServiceRef, ...]:
    """Return the objects of a namespace that declare the host of one of them, oldest first; they are one service."""
    if not isinstance(ref, EntryHost):
        return (ref,)
    same = [one for one in db.lookup(SERVICES_BY_HOST, ref.host.lower()) if one.namespace == ref.namespace]
    return tuple(sorted(same, key=lambda one: (created_at(db, one), one)))


def created_at(db: Database, ref: ServiceRef) -> str:
    """Return when the object of a service was created."""
    row = db.get(SERVICES, ref)
    return "" if row is None else row.created


def _oldest(db: Database, refs: list[ServiceRef]) -> ServiceRef | None:
    return min(refs, key=lambda ref: (created_at(db, ref), ref), default=None)
