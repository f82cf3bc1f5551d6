"""CustomResourceDefinitions of Istio's kinds, made from the kind registry and the typed views.

Flow: `Kind` -> CRD manifest (`apiextensions.k8s.io/v1`) as JSON. Names, versions, scope and columns come from the kind,
the schema from the view that reads it, so that neither can drift from what Lateen decodes.

Invariants: one storage version; every version has the same schema and the status subresource; `status` keeps unknown
fields, because others write there too.
Source: Kubernetes CustomResourceDefinition v1; Istio's CRDs. Where we differ: CEL rules are left to Lateen's own
validation, and Gateway API kinds have an open schema.
"""

from typing import Any, get_type_hints

from lateen.api.istio_views import ISTIO_VIEWS
from lateen.api.kinds import Column, Kind
from lateen.api.objects import JsonObject
from lateen.api.view import Marker
from lateen.api.view_schema import build_view_schema

_PROTECTED_GROUP = ".k8s.io"


def build_crd(kind: Kind) -> JsonObject:
    """The CustomResourceDefinition of a kind; one without a view gets a schema that admits any object."""
    schema = _build_schema(kind)
    names: JsonObject = {
        "kind": kind.kind,
        "listKind": kind.list_kind,
        "plural": kind.plural,
        "singular": kind.singular,
        "categories": list(kind.categories),
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    metadata: JsonObject = {"name": kind.qualified_name, "labels": {"app.kubernetes.io/part-of": "lateen"}}
    if kind.group.endswith(_PROTECTED_GROUP):
        metadata["annotations"] = {"api-approved.kubernetes.io": "unapproved, open schema"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_build_version(kind, version, schema) for version in kind.served_versions],
        },
    }


def _build_version(kind: Kind, version: str, schema: JsonObject) -> JsonObject:
    result: JsonObject = {
        "name": version,
        "served": True,
        "storage": version == kind.version,
        "schema": {"openAPIV3Schema": schema},
    }
    if "status" in kind.subresources:
        result["subresources"] = {"status": {}}
    if kind.columns:
        result["additionalPrinterColumns"] = [_build_column(column) for column in kind.columns]
    return result


def _build_column(column: Column) -> JsonObject:
    result: JsonObject = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.format:
        result["format"] = column.format
    if column.priority:
        result["priority"] = column.priority
    return result


def _build_schema(kind: Kind) -> JsonObject:
    view = ISTIO_VIEWS.get(kind.kind) if kind.group.endswith(".istio.io") else None
    if view is None:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    hints = get_type_hints(view)
    status = build_view_schema(hints["status"])
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "spec": build_view_schema(hints["spec"]),
            "status": {**status, "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    marks = getattr(get_type_hints(view, include_extras=True)["spec"], "__metadata__", ())
    return {**schema, "required": ["spec"]} if Marker.REQUIRED in marks else schema
