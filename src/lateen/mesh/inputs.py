"""The inputs of the mesh: tables of rows, the indexes over them, and how a changed document changes them.

(kind, old document, new document) -> table changes for `Database.commit`.

Invariants: rows are keyed by ObjectRef, so that `Database.why` names the YAML objects behind any result; every index
finds by value what a query would otherwise have to scan for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lateen.api.objects import key_of
from lateen.base.names import ObjectRef
from lateen.incremental.inputs import Change, Index, Table
from lateen.mesh.rows import (
    EndpointSliceRow,
    PeerAuthenticationRow,
    PodRow,
    ServiceRow,
    build_peer_authentication_row,
    build_pod_row,
    build_service_row,
    build_slice_row,
)
from lateen.mesh.settings import ROOT_NAMESPACE, MeshSettings, parse_settings

SERVICES: Table[ObjectRef, ServiceRow] = Table("services")
ENDPOINT_SLICES: Table[ObjectRef, EndpointSliceRow] = Table("endpoint slices")
PODS: Table[ObjectRef, PodRow] = Table("pods")
PEER_AUTHENTICATIONS: Table[ObjectRef, PeerAuthenticationRow] = Table("peer authentications")
MESH_SETTINGS: Table[ObjectRef, MeshSettings] = Table("mesh settings")

MESH_CONFIG_REF = ObjectRef("ConfigMap", ROOT_NAMESPACE, "istio")
DEFAULT_EXPORT = ""  # files a Service that leaves its visibility to the mesh's default.

SERVICES_BY_NAMESPACE = Index("services by namespace", SERVICES, lambda ref, _: (ref.namespace,))
SERVICES_BY_PORT = Index(
    "services by namespace and port",
    SERVICES,
    lambda ref, row: [(ref.namespace, port.number) for port in row.ports],
)
SERVICES_BY_PORT_NUMBER = Index("services by port", SERVICES, lambda _, row: [port.number for port in row.ports])
SERVICES_BY_ADDRESS = Index("services by address", SERVICES, lambda _, row: row.addresses)
SERVICES_BY_SELECTOR = Index(
    "services by the first label they select", SERVICES, lambda ref, row: _first_label(ref, row)
)
SERVICES_BY_VIEWER = Index(
    "services by the namespace they are exported to",
    SERVICES,
    lambda ref, row: [ref.namespace if viewer == "." else viewer for viewer in row.export_to or (DEFAULT_EXPORT,)],
)
SLICES_BY_SERVICE = Index(
    "endpoint slices by service",
    ENDPOINT_SLICES,
    lambda ref, row: (ObjectRef("Service", ref.namespace, row.service),),
)
SLICES_BY_ADDRESS = Index(
    "endpoint slices by address",
    ENDPOINT_SLICES,
    lambda _, row: [endpoint.address for endpoint in row.endpoints],
)
PODS_BY_ADDRESS = Index("pods by address", PODS, lambda _, row: row.addresses)
PEER_AUTHENTICATIONS_BY_NAMESPACE = Index(
    "peer authentications by namespace", PEER_AUTHENTICATIONS, lambda ref, _: (ref.namespace,)
)


def _first_label(ref: ObjectRef, row: ServiceRow) -> Iterable[tuple[str, str, str]]:
    return [(ref.namespace, *row.selector[0])] if row.selector else ()


def _build_settings(document: Mapping[str, Any]) -> MeshSettings | None:
    data = document.get("data")
    text = data.get("mesh") if isinstance(data, Mapping) else None
    return parse_settings(text) if isinstance(text, str) else None


_Reader = Callable[[Mapping[str, Any]], Any]
_READERS: dict[str, tuple[Table[ObjectRef, Any], _Reader]] = {
    "Service": (SERVICES, build_service_row),
    "EndpointSlice": (ENDPOINT_SLICES, build_slice_row),
    "Pod": (PODS, build_pod_row),
    "PeerAuthentication": (PEER_AUTHENTICATIONS, build_peer_authentication_row),
    "ConfigMap": (MESH_SETTINGS, _build_settings),
}

WATCHED_KINDS = tuple(_READERS)
"""The kinds that `changes_of` reads; the control plane watches these."""


def changes_of(kind: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[Change, ...]:
    """Return what a created (no old), changed or deleted (no new) object does to the tables.

    A kind that is not watched, and a ConfigMap other than the mesh's, changes nothing.
    """
    document = new if new is not None else old
    if document is None or kind not in _READERS:
        return ()
    table, read = _READERS[kind]
    ref = ObjectRef(kind, *key_of(document))
    if table is MESH_SETTINGS and ref != MESH_CONFIG_REF:
        return ()
    return ((table, ref, None if new is None else read(new)),)
