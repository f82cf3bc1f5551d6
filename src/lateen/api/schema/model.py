"""One schema node, for built-in kinds and CRDs alike: JSON of OpenAPI -> Schema.

`decode_schema` reads the `openAPIV3Schema` of a CRD, `definitions.get_definition` the schemas of the
built-in kinds; both give the same frozen tree, so validation, pruning, defaulting and patching know one
shape only. A node with `ref` stands for a definition of Kubernetes: `definitions.follow` goes there.
Source: OpenAPI v3 schema objects and the `x-kubernetes-*` extensions as the page "Extend the Kubernetes API
with CustomResourceDefinitions" lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_EXTENSIONS = {
    "ref": "$ref",
    "merge_key": "x-kubernetes-patch-merge-key",
    "patch_strategy": "x-kubernetes-patch-strategy",
    "list_type": "x-kubernetes-list-type",
    "list_map_keys": "x-kubernetes-list-map-keys",
    "map_type": "x-kubernetes-map-type",
    "int_or_string": "x-kubernetes-int-or-string",
    "preserve_unknown": "x-kubernetes-preserve-unknown-fields",
    "embedded_resource": "x-kubernetes-embedded-resource",
    "negated": "not",
}


def _name(attribute: str) -> str:
    head, *rest = attribute.split("_")
    return _EXTENSIONS.get(attribute, head + "".join(word.title() for word in rest))


class Schema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=_name, gc=False):
    """What one value may be; a member that is None or empty says nothing.

    `patch_strategy` is Kubernetes' comma list of `merge`, `replace` and `retainKeys`; `default` is unset
    where the schema has none, so that a default of null can be told from none.
    """

    ref: str | None = None
    type: str | None = None
    format: str | None = None
    properties: dict[str, Schema] = {}
    additional_properties: Schema | bool | None = None
    items: Schema | None = None
    required: tuple[str, ...] = ()
    nullable: bool = False
    default: Any = msgspec.UNSET
    enum: tuple[Any, ...] | None = None
    pattern: str | None = None
    minimum: float | int | None = None
    maximum: float | int | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    multiple_of: float | int | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    min_properties: int | None = None
    max_properties: int | None = None
    all_of: tuple[Schema, ...] = ()
    any_of: tuple[Schema, ...] = ()
    one_of: tuple[Schema, ...] = ()
    negated: Schema | None = None
    merge_key: str | None = None
    patch_strategy: str = ""
    list_type: str | None = None
    list_map_keys: tuple[str, ...] = ()
    map_type: str | None = None
    int_or_string: bool = False
    preserve_unknown: bool = False
    embedded_resource: bool = False

    @property
    def value_schema(self) -> Schema | None:
        """The schema of the values of a map, None where the value is no map of one kind of value."""
        found = self.additional_properties
        return found if isinstance(found, Schema) else None


#: The schema that says nothing: any value fits, every field is kept.
ANYTHING = Schema(preserve_unknown=True)


def decode_schema(document: Mapping[str, Any]) -> Schema:
    """The schema that a CRD's `openAPIV3Schema` describes; members Kubernetes does not check are left out.

    msgspec.ValidationError (with the path inside the schema) when a member has a wrong type.
    """
    return msgspec.convert(document, Schema, strict=False)
