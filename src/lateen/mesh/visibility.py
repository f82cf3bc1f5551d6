"""What a proxy may see: the services that outbound configuration is computed from.

Proxy's namespace -> Scope -> services of a namespace that the scope sees.

Invariants: a Scope is the whole argument of outbound queries besides names, and equal scopes are one computation.
Where no Service limits its export to certain namespaces, every proxy of the mesh has the same scope, except that
routes also depend on the namespace because of short host names.
Source: Istio's page "Service annotations" (`networking.istio.io/exportTo`: `*`, `.`, `~` or namespaces);
`MeshConfig.defaultServiceExportTo`. A Sidecar resource will narrow a scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.base.names import ObjectRef
from lateen.incremental.query import query
from lateen.mesh.inputs import (
    MESH_CONFIG_REF,
    MESH_SETTINGS,
    SERVICES,
    SERVICES_BY_NAMESPACE,
    SERVICES_BY_PORT,
    SERVICES_BY_PORT_NUMBER,
    SERVICES_BY_VIEWER,
)
from lateen.mesh.settings import DEFAULT_SETTINGS, MeshSettings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class Scope(msgspec.Struct, frozen=True):
    """What outbound configuration depends on, beside its own name."""

    viewer: str
    """The namespace whose private services are seen; empty for those who see just the public ones."""
    allow_any: bool
    """Whether what is not declared passes."""


@query
def mesh_settings(db: Database) -> MeshSettings:
    """Return the settings of the mesh."""
    return db.get(MESH_SETTINGS, MESH_CONFIG_REF) or DEFAULT_SETTINGS


@query
def find_scope(db: Database, namespace: str) -> Scope:
    """Return the scope of the proxies of a namespace."""
    settings = mesh_settings(db)
    by_default = settings.service_export_to
    sees_more = bool(db.lookup(SERVICES_BY_VIEWER, namespace)) or (
        "*" not in by_default and bool({".", namespace} & set(by_default))
    )
    return Scope(namespace if sees_more else "", settings.allow_any)


@query
def service_namespaces(db: Database) -> tuple[str, ...]:
    """Return the namespaces that have services."""
    return tuple(sorted({ref.namespace for ref in db.keys(SERVICES)}))


@query
def visible_services(db: Database, namespace: str, viewer: str) -> tuple[ObjectRef, ...]:
    """Return the services of one namespace that a viewer sees."""
    found = db.lookup(SERVICES_BY_NAMESPACE, namespace)
    return tuple(ref for ref in found if is_exported(db, ref, viewer))


@query
def visible_services_on_port(db: Database, namespace: str, port: int, viewer: str) -> tuple[ObjectRef, ...]:
    """Return the services of one namespace with a port of this number that a viewer sees."""
    found = db.lookup(SERVICES_BY_PORT, (namespace, port))
    return tuple(ref for ref in found if is_exported(db, ref, viewer))


@query
def port_namespaces(db: Database, port: int) -> tuple[str, ...]:
    """Return the namespaces that have a service with a port of this number."""
    return tuple(sorted({ref.namespace for ref in db.lookup(SERVICES_BY_PORT_NUMBER, port)}))


@query
def is_exported(db: Database, ref: ObjectRef, viewer: str) -> bool:
    """Whether a viewer sees a Service."""
    row = db.get(SERVICES, ref)
    if row is None:
        return False
    export_to = row.export_to or mesh_settings(db).service_export_to
    return "*" in export_to or viewer in export_to or ("." in export_to and viewer == ref.namespace)
