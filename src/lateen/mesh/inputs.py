"""The inputs of the mesh: tables of rows, and how a changed document changes them.

(kind, old document, new document) -> table changes for `Database.commit`.

Invariants: rows are keyed by ObjectRef (services of a ServiceEntry by EntryHost, which names the object too), so that
`Database.why` names the YAML objects behind any result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lateen.api.objects import key_of
from lateen.base.names import ObjectRef
from lateen.incremental.inputs import Change, Table
from lateen.mesh.authorization_rows import AuthorizationPolicyRow, build_authorization_policy_row
from lateen.mesh.routing_rows import (
    DestinationRuleRow,
    GatewayRow,
    VirtualServiceRow,
    build_destination_rule_row,
    build_entry_rows,
    build_gateway_row,
    build_virtual_service_row,
    is_istio_gateway,
)
from lateen.mesh.rows import (
    EndpointSliceRow,
    PeerAuthenticationRow,
    PodRow,
    ServiceRef,
    ServiceRow,
    build_peer_authentication_row,
    build_pod_row,
    build_service_row,
    build_slice_row,
)
from lateen.mesh.settings import ROOT_NAMESPACE, MeshSettings, parse_settings

SERVICES: Table[ServiceRef, ServiceRow] = Table("services")
ENDPOINT_SLICES: Table[ObjectRef, EndpointSliceRow] = Table("endpoint slices")
PODS: Table[ObjectRef, PodRow] = Table("pods")
PEER_AUTHENTICATIONS: Table[ObjectRef, PeerAuthenticationRow] = Table("peer authentications")
AUTHORIZATION_POLICIES: Table[ObjectRef, AuthorizationPolicyRow] = Table("authorization policies")
VIRTUAL_SERVICES: Table[ObjectRef, VirtualServiceRow] = Table("virtual services")
DESTINATION_RULES: Table[ObjectRef, DestinationRuleRow] = Table("destination rules")
GATEWAYS: Table[ObjectRef, GatewayRow] = Table("gateways")
MESH_SETTINGS: Table[ObjectRef, MeshSettings] = Table("mesh settings")

MESH_CONFIG_REF = ObjectRef("ConfigMap", ROOT_NAMESPACE, "istio")


def _build_settings(document: Mapping[str, Any]) -> MeshSettings | None:
    data = document.get("data")
    text = data.get("mesh") if isinstance(data, Mapping) else None
    return parse_settings(text) if isinstance(text, str) else None


_Reader = Callable[[Mapping[str, Any]], Any]
_READERS: dict[str, tuple[Table[Any, Any], _Reader]] = {
    "Service": (SERVICES, build_service_row),
    "EndpointSlice": (ENDPOINT_SLICES, build_slice_row),
    "Pod": (PODS, build_pod_row),
    "PeerAuthentication": (PEER_AUTHENTICATIONS, build_peer_authentication_row),
    "AuthorizationPolicy": (AUTHORIZATION_POLICIES, build_authorization_policy_row),
    "VirtualService": (VIRTUAL_SERVICES, build_virtual_service_row),
    "DestinationRule": (DESTINATION_RULES, build_destination_rule_row),
    "Gateway": (GATEWAYS, build_gateway_row),
    "ConfigMap": (MESH_SETTINGS, _build_settings),
}
_SERVICE_ENTRY = "ServiceEntry"

WATCHED_KINDS = (*_READERS, _SERVICE_ENTRY)
"""The kinds that `changes_of` reads; the control plane watches these."""


def changes_of(kind: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[Change, ...]:
    """Return what a created (no old), changed or deleted (no new) object does to the tables.

    A kind that is not watched, and a ConfigMap other than the mesh's, changes nothing.
    """
    if kind == _SERVICE_ENTRY:
        before = {} if old is None else build_entry_rows(old)
        after = {} if new is None else build_entry_rows(new)
        return tuple((SERVICES, ref, after.get(ref)) for ref in sorted({*before, *after}))
    document = new if new is not None else old
    if document is None or kind not in _READERS:
        return ()
    if kind == "Gateway" and not is_istio_gateway(document):
        return ()
    table, read = _READERS[kind]
    ref = ObjectRef(kind, *key_of(document))
    if table is MESH_SETTINGS and ref != MESH_CONFIG_REF:
        return ()
    return ((table, ref, None if new is None else read(new)),)
