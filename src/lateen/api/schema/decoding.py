"""Reading a document of a built-in kind as kube-apiserver's Go types would: (JSON, schema) -> Decoded.

Unknown fields are dropped and named, nulls vanish (in lists and maps they become the zero value),
quantities get their canonical text, and the first value of a wrong JSON type is told in the words of Go's
decoder, which users of kubectl know. Paths of unknown fields carry indices (`spec.containers[0].foo`),
those of Go's decoder do not. Source: the behaviour of `encoding/json`, and of Kubernetes' types Time,
Quantity and IntOrString.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from lateen.api.schema.definitions import follow
from lateen.api.schema.model import Schema
from lateen.base.quantity import format_quantity, is_quantity


class Decoded(msgspec.Struct, frozen=True):
    """The document without what its kind does not know; `mismatch` is the decoder's complaint about a wrong
    type.
    """

    document: dict[str, Any]
    unknown: tuple[str, ...] = ()
    mismatch: str | None = None


def decode_builtin(document: dict[str, Any], schema: Schema, kind: str) -> Decoded:
    """The document as that kind holds it; `kind` is the Go type name that messages start with."""
    reader = _Reader()
    result = reader.read(document, schema, "", "", kind)
    return Decoded(result if isinstance(result, dict) else {}, tuple(reader.unknown), reader.mismatch)


_ZERO: dict[str | None, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": []}
_GO_TYPES = {"string": "string", "boolean": "bool", "number": "float64"}
_BITS = {"int32": 31, "int64": 63}
_QUANTITY_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_INT32 = Schema(type="integer", format="int32")
_QUANTITY_NAME = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def go_type(schema: Schema) -> str:
    """The name of the Go type behind a schema, as decoder messages show it."""
    if schema.ref is not None:
        *_, version, kind = schema.ref.split(".")
        return f"{version}.{kind}"
    match schema.type:
        case "array":
            return "[]" + (go_type(schema.items) if schema.items is not None else "interface {}")
        case "object":
            values = schema.value_schema
            if values is not None and values.ref == _QUANTITY_NAME:
                return "v1.ResourceList"
            return f"map[string]{go_type(values) if values is not None else 'interface {}'}"
        case "string" if schema.format == "byte":
            return "[]uint8"
        case "integer":
            return schema.format or "int64"
        case found:
            return _GO_TYPES.get(found or "", "interface {}")


def json_type(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


class _Reader:
    """One pass over a document; collects what does not fit."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.mismatch: str | None = None
        self._ended = False

    def read(self, value: Any, schema: Schema, path: str, field: str, owner: str) -> Any:
        """The value as the schema holds it; `field` is the path without indices, `owner` the Go struct it
        is in.
        """
        resolved = follow(schema)
        if resolved.preserve_unknown or (resolved.type is None and not resolved.int_or_string):
            return value
        if resolved.int_or_string:
            if isinstance(value, bool) or not isinstance(value, int | str):
                shown = f"number {value!r}" if isinstance(value, float) else None
                self._mismatch(value, _INT32, field, owner, shown=shown, ends=True)
            return value
        match resolved.type:
            case "object":
                return self._object(value, schema, resolved, path, field, owner)
            case "array":
                if not isinstance(value, list):
                    self._mismatch(value, schema, field, owner)
                    return value
                items = resolved.items
                if items is None:
                    return value
                return [self._filled(item, items, f"{path}[{place}]", field, owner) for place, item in enumerate(value)]
            case _:
                self._scalar(value, schema, resolved, field, owner)
                return _canonical(value) if resolved.format == "quantity" else value

    def _filled(self, value: Any, schema: Schema, path: str, field: str, owner: str) -> Any:
        if value is None:
            resolved = follow(schema)
            return {} if resolved.type == "object" else _ZERO.get(resolved.type)
        return self.read(value, schema, path, field, owner)

    def _object(self, value: Any, schema: Schema, resolved: Schema, path: str, field: str, owner: str) -> Any:
        if not isinstance(value, dict):
            self._mismatch(value, schema, field, owner)
            return value
        values = resolved.value_schema
        if values is not None:
            return {key: self._filled(item, values, f"{path}.{key}", field, owner) for key, item in value.items()}
        if not resolved.properties:
            return value
        name = owner if schema.ref is None else schema.ref.rpartition(".")[2]
        result = {}
        for key, item in value.items():
            child = resolved.properties.get(key)
            if child is None:
                self.unknown.append(f"{path}.{key}" if path else key)
            elif item is not None:
                place = f"{path}.{key}" if path else key
                result[key] = self.read(item, child, place, f"{field}.{key}" if field else key, name)
        return result

    def _scalar(self, value: Any, schema: Schema, resolved: Schema, field: str, owner: str) -> None:
        match resolved.type, value:
            case "string", str():
                self._string(value, schema, resolved.format)
            case "string", _ if resolved.format == "quantity":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    self._complain(_QUANTITY_TEXT, ends=True)
            case "string", _ if resolved.format == "date-time":
                self._mismatch(value, Schema(type="string"), field, owner, ends=True)
            case "boolean", bool():
                pass
            case (("integer" | "number"), bool()):
                self._mismatch(value, schema, field, owner)
            case "number", int() | float():
                pass
            case "integer", int():
                if value.bit_length() > _BITS.get(resolved.format or "int64", 63):
                    self._mismatch(value, schema, field, owner, shown=f"number {value}")
            case "integer", float():
                self._mismatch(value, schema, field, owner, shown=f"number {value!r}")
            case _:
                self._mismatch(value, schema, field, owner)

    def _string(self, value: str, schema: Schema, form: str | None) -> None:
        match form:
            case "quantity" if not is_quantity(value):
                self._complain(_QUANTITY_TEXT, ends=True)
            case "date-time" if (complaint := _check_time(value, micro=schema.ref == _MICRO_TIME)) is not None:
                self._complain(complaint, ends=True)
            case "byte" if not _BASE64.fullmatch(value.replace("\n", "").replace("\r", "")):
                wrong = re.search(r"[^A-Za-z0-9+/\r\n]", value)
                self._complain(f"illegal base64 data at input byte {wrong.start() if wrong else len(value)}")

    def _mismatch(
        self,
        value: Any,
        schema: Schema,
        field: str,
        owner: str,
        *,
        shown: str | None = None,
        ends: bool = False,
    ) -> None:
        found = shown or json_type(value)
        place = f"Go struct field {owner}.{field}" if field else "Go value"
        name = "types.UID" if field.endswith("uid") and schema.type == "string" else go_type(schema)
        self._complain(f"json: cannot unmarshal {found} into {place} of type {name}", ends=ends)

    def _complain(self, text: str, *, ends: bool = False) -> None:
        """Keep a complaint: the first one, but one that ends Go's decoding goes over those that do not."""
        if not self._ended and (ends or self.mismatch is None):
            self.mismatch = text
        self._ended = self._ended or ends


def _canonical(value: Any) -> Any:
    """A quantity as Kubernetes writes it; anything else as it is, it was complained about."""
    if isinstance(value, str):
        return format_quantity(value) if is_quantity(value) else value
    return format_quantity(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _check_time(text: str, *, micro: bool) -> str | None:
    """What Go says of a time stamp it cannot read, None of a good one; a MicroTime needs six digits of a
    fraction.
    """
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([.,]\d+)?(Z|[+-]\d\d:\d\d)", text)
    if found is None:
        return f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"'
    try:
        datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return f'parsing time "{text}": day out of range'
    if micro and not re.fullmatch(r"\.\d{6}", found[2] or ""):
        rest = text[len(found[1]) :]
        return f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as ".000000"'
    return None
