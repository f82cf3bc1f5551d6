"""Custom resources by their structural schema: pruning, defaulting and validation, all (JSON value, Schema)
-> new value or errors.

Unknown fields are dropped where the schema does not preserve them; `apiVersion`, `kind` and `metadata` at
the root (and of embedded resources) belong to Kubernetes, not to the schema. Messages are those of
kube-apiserver (`spec.x in body must be of type ...`). CEL rules (`x-kubernetes-validations`) are not
evaluated. Source: the page "Extend the Kubernetes API with CustomResourceDefinitions".
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from lateen.api.schema.model import Schema

_OBJECT_FIELDS = ("apiVersion", "kind", "metadata")


def prune(document: dict[str, Any], schema: Schema) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document without the fields that the schema does not know, and the sorted paths of these."""
    unknown: list[str] = []
    result = _prune(document, schema, "", unknown, is_object=True)
    return result, tuple(sorted(unknown))


def _prune(value: Any, schema: Schema, path: str, unknown: list[str], *, is_object: bool = False) -> Any:
    if isinstance(value, list):
        if schema.items is None:
            return value
        items = schema.items
        return [_prune(item, items, f"{path}[{place}]", unknown) for place, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kubernetes = _OBJECT_FIELDS if is_object or schema.embedded_resource else ()
    result = {}
    for key, item in value.items():
        place = f"{path}.{key}" if path else key
        if key in kubernetes:
            result[key] = item
        elif (child := schema.properties.get(key) or schema.value_schema) is not None:
            result[key] = _prune(item, child, place, unknown)
        elif schema.preserve_unknown or schema.additional_properties is True:
            result[key] = item
        else:
            unknown.append(place)
    return result


def apply_defaults(value: Any, schema: Schema) -> Any:
    """The value with defaults in the places of missing fields, and of nulls that the schema does not allow."""
    if isinstance(value, list):
        if schema.items is None:
            return value
        return [apply_defaults(item, schema.items) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, item in value.items():
        child = schema.properties.get(key) or schema.value_schema
        if child is None:
            result[key] = item
        elif item is not None or child.nullable or child.default is msgspec.UNSET:
            result[key] = apply_defaults(item, child)
    for key, child in schema.properties.items():
        if key not in result and child.default is not msgspec.UNSET:
            result[key] = apply_defaults(copy.deepcopy(child.default), child)
    return result
