"""Typed views: frozen Structs that read a JSON document and never write it.

A `View` is a Kubernetes type, a `ProtoView` one whose JSON follows proto3 (all of Istio's): there `null`
and an absent field mean the default, integers may be strings, enumerations may be numbers, and the
proto's own snake_case field names are read as well. The attributes are snake_case; `rename` or an
explicit `name=` gives the JSON field.

Invariants: every field has a default, so that any document can be read; what a schema demands beyond the
type stands in `Required`, `msgspec.Meta` and the width of integers. Lists are tuples, maps are mappings
that nobody changes. A string literal below a field describes it, and the class docstring its object; CRDs
and `kubectl explain` show both.
Source: Kubernetes API conventions; proto3's JSON mapping as golang/protobuf's jsonpb, which istiod uses,
reads it.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")


class Marker(Enum):
    """What a schema says of a field besides its type."""

    REQUIRED = "required"
    NULLABLE = "nullable"
    SNAKE_CASE_TOO = "snake_case_too"
    LIST_MAP_BY_NAME = "list_map_by_name"
    LIST_MAP_BY_NUMBER = "list_map_by_number"


Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Weight = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1), Meta(extra_json_schema={"minimum": 0})]
"""An int32 that admission refuses below 0, as Istio's does; the view reads it, so that one spoils no other route."""
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Text = Annotated[str, Meta(min_length=1)]
Required = Annotated[T, Marker.REQUIRED]
"""A field that the schema demands, although the view reads its default when it is absent."""
Nullable = Annotated[T, Marker.NULLABLE]
"""A field of one of proto's wrapper types: its schema admits an explicit `null`."""
Struct = Mapping[str, Any]
"""google.protobuf.Struct: any JSON object."""


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A read-only view of a Kubernetes type; unknown fields are ignored."""

    ONE_OF: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of attributes of which at most one may be set."""


class ProtoView(View, frozen=True, kw_only=True, rename="camel"):
    """A read-only view of a proto3 message in JSON form."""
