"""Typed views: frozen Structs that read a JSON document and never write it.

A `View` is a Kubernetes type, a `ProtoView` one whose JSON follows proto3 (all of Istio's): there `null`
and an absent field mean the default, integers may be strings, enumerations may be numbers, and the
proto's own snake_case field names are read as well. The attributes are snake_case; `rename` or an
explicit `name=` gives the JSON field.

Invariants: every field has a default, so that any document can be read; what a schema demands is marked
`Required` and what a number may be is marked by its width. Lists are tuples, maps are mappings that
nobody changes. A string literal below a field describes it, and the class docstring its object; CRDs and
`kubectl explain` show both.
Source: Kubernetes API conventions; proto3's JSON mapping as golang/protobuf's jsonpb, which istiod uses,
reads it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

T = TypeVar("T")


class Width(msgspec.Struct, frozen=True):
    """The range of an integer and the name of it in schemas; empty when schemas state the range alone."""

    minimum: int
    maximum: int
    format: str = ""


class Demand(msgspec.Struct, frozen=True):
    """Marks a field that the schema requires, although the view reads its default when it is absent."""


Int32 = Annotated[int, Width(-(2**31), 2**31 - 1, "int32")]
Int64 = Annotated[int, Width(-(2**63), 2**63 - 1, "int64")]
UInt32 = Annotated[int, Width(0, 2**32 - 1)]
UInt64 = Annotated[int, Width(0, 2**64 - 1)]
Required = Annotated[T, Demand()]
Struct = Mapping[str, Any]
"""google.protobuf.Struct: any JSON object."""


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A read-only view of a Kubernetes type; unknown fields are ignored."""

    ONE_OF: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of attributes of which at most one may be set."""


class ProtoView(View, frozen=True, kw_only=True, rename="camel"):
    """A read-only view of a proto3 message in JSON form."""
