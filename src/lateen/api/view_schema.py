"""Structural schemas of views: what a view's annotations say, in the form that CustomResourceDefinitions take.

Flow: view class -> OpenAPI v3 schema as JSON. Descriptions are the string literals below the fields and the class
docstrings, read from the source; where a program ships without its source, schemas have no descriptions.

Invariants: every schema is structural as Kubernetes demands (a type at each node, `oneOf` without types), one-of
groups admit none or one of their members, int64 and uint64 state no upper bound (JSON numbers cannot).
Source: Kubernetes "structural schemas"; Istio's CRDs for bounds and patterns. Where we differ: durations have a pattern
instead of a CEL rule, so that servers without CEL refuse them too.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from lateen.api.view import Marker, View

Schema = dict[str, Any]

_DURATION_PATTERN = r"^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$"
_UNKNOWN_FIELDS = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_BOUNDS = {
    "string": {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "object": {"min_length": "minProperties", "max_length": "maxProperties"},
    "integer": {"ge": "minimum", "le": "maximum"},
    "number": {"ge": "minimum", "le": "maximum"},
}
_INT32 = (-(2**31), 2**31 - 1)


def build_view_schema(view: type[View]) -> Schema:
    """The schema of an object that the view reads."""
    hints = get_type_hints(view, include_extras=True)
    texts = _field_texts(view.__module__).get(view.__name__, {})
    properties: Schema = {}
    required = []
    for attribute, name in zip(view.__struct_fields__, view.__struct_encode_fields__, strict=True):
        schema, markers = _build_schema(hints[attribute])
        if attribute in texts:
            schema = {"description": texts[attribute], **schema}
        properties[name] = schema
        if Marker.REQUIRED in markers:
            required.append(name)
        if Marker.SNAKE_CASE_TOO in markers:
            properties[attribute] = schema
    result: Schema = {"type": "object", "description": inspect.getdoc(view) or "", "properties": properties}
    if required:
        result["required"] = required
    return {**result, **_build_one_of(view)}


def _build_one_of(view: type[View]) -> Schema:
    """Each group: none of its members, or exactly one."""
    names = dict(zip(view.__struct_fields__, view.__struct_encode_fields__, strict=True))
    groups = []
    for group in view.ONE_OF:
        members = [{"required": [names[attribute]]} for attribute in group]
        groups.append({"oneOf": [{"not": {"anyOf": members}}, *members]})
    return groups[0] if len(groups) == 1 else {"allOf": groups} if groups else {}


def _build_schema(annotation: Any) -> tuple[Schema, frozenset[Marker]]:
    """The schema of an annotated type, and the markers on it."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        schema, markers = _build_schema(inner)
        for mark in marks:
            if isinstance(mark, Meta):
                schema = {**schema, **_build_bounds(schema["type"], mark)}
        found = markers | {mark for mark in marks if isinstance(mark, Marker)}
        return {**schema, **_build_marked(found)}, found
    if get_origin(annotation) in (Union, UnionType):
        present = [member for member in get_args(annotation) if member is not NoneType]
        if len(present) > 1:
            int_or_string = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
            return int_or_string, frozenset()
        return _build_schema(present[0])
    return _build_plain(annotation), frozenset()


def _build_plain(annotation: Any) -> Schema:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _build_schema(arguments[0])[0]}
    if origin is Mapping:
        if arguments[1] is Any:
            return _UNKNOWN_FIELDS
        return {"type": "object", "additionalProperties": _build_schema(arguments[1])[0]}
    if isinstance(annotation, type) and issubclass(annotation, View):
        return build_view_schema(annotation)
    plain: dict[Any, Schema] = {
        str: {"type": "string"},
        bool: {"type": "boolean"},
        int: {"type": "integer"},
        float: {"type": "number", "format": "double"},
        timedelta: {"type": "string", "pattern": _DURATION_PATTERN},
    }
    return plain[annotation]


def _build_bounds(kind: str, meta: Meta) -> Schema:
    if kind == "integer" and (meta.ge, meta.le) == _INT32:
        return {"format": "int32"}
    bounds = {word: getattr(meta, name) for name, word in _BOUNDS[kind].items() if getattr(meta, name) is not None}
    return {**bounds, **(meta.extra_json_schema or {})}


def _build_marked(markers: frozenset[Marker]) -> Schema:
    schema: Schema = {}
    if Marker.NULLABLE in markers:
        schema["nullable"] = True
    for marker, key in ((Marker.LIST_MAP_BY_NAME, "name"), (Marker.LIST_MAP_BY_NUMBER, "number")):
        if marker in markers:
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return schema


@cache
def _field_texts(module: str) -> dict[str, dict[str, str]]:
    """Class -> attribute -> the string literal below it."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:
        return {}
    return {node.name: _texts_of(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _texts_of(class_: ast.ClassDef) -> dict[str, str]:
    texts = {}
    for field, below in zip(class_.body, class_.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=attribute)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[attribute] = inspect.cleandoc(text)
    return texts
