"""Kubernetes' protobuf form of built-in objects: bytes of a request body -> the JSON document that they
stand for.

A body is `k8s\\0` and a `runtime.Unknown`: apiVersion, kind and the object's own message. Which fields a
message has, their JSON names and what Go's encoding/json makes of them is data (`wire.json.gz`, made by
`tools/extract_kubernetes_wire.py`), so decoding is one walk without generated code. Typed Go clients, among
them `kubectl create`, send this form and no other; answers are JSON, which they all read. Source: the
Kubernetes page "API Concepts", section "Alternate representations of resources".
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from lateen.api.kinds import parse_api_version
from lateen.api.schema.definitions import read_data

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1"
_DEPTH = 100
_SECOND_NANOSECONDS = 1_000_000_000


class WireError(ValueError):
    """The bytes are no object in Kubernetes' protobuf form."""


class Field(msgspec.Struct, frozen=True, array_like=True):
    """One field: JSON name, `one`, `list` or `map`, kind of the value, flags (omitempty, inline, pointer)."""

    name: str
    shape: str
    kind: str
    flags: str


@cache
def _messages() -> dict[str, dict[str, Field]]:
    return msgspec.json.decode(read_data("wire.json.gz"), type=dict[str, dict[str, Field]])


def decode_object(body: bytes) -> dict[str, Any]:
    """The document in a request body; WireError when it is malformed or of a kind that has no such form."""
    if not body.startswith(_MAGIC):
        raise WireError("the body does not begin with the protobuf prefix of Kubernetes")
    api_version = kind = ""
    raw = b""
    try:
        for number, value in _read_fields(body[len(_MAGIC) :]):
            if number == 1 and isinstance(value, bytes):
                parts = {inner: text for inner, text in _read_fields(value) if isinstance(text, bytes)}
                api_version, kind = parts.get(1, b"").decode(), parts.get(2, b"").decode()
            elif number == 2 and isinstance(value, bytes):
                raw = value
        return {"apiVersion": api_version, "kind": kind, **_decode(raw, _find_message(api_version, kind), 0)}
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, OverflowError) as error:
        raise WireError(f"malformed protobuf: {error}") from None


def _find_message(api_version: str, kind: str) -> str:
    group, version = parse_api_version(api_version)
    package = f"k8s.io.api.{group.partition('.')[0] or 'core'}.{version}"
    for name in (f"{package}.{kind}", f"{_META}.{kind}"):
        if name in _messages():
            return name
    raise WireError(f"{api_version} {kind} has no protobuf form")


def _read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position, end = 0, len(data)
    while position < end:
        key, position = _read_varint(data, position)
        match key & 7:
            case 0:
                number, position = _read_varint(data, position)
                yield key >> 3, number
            case 1:
                yield key >> 3, data[position : position + 8]
                position += 8
            case 2:
                size, position = _read_varint(data, position)
                if position + size > end:
                    raise IndexError("a field is longer than its message")
                yield key >> 3, data[position : position + size]
                position += size
            case 5:
                yield key >> 3, data[position : position + 4]
                position += 4
            case other:
                raise WireError(f"malformed protobuf: wire type {other}")


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise OverflowError("a number is longer than 64 bits")


def _decode(data: bytes, message: str, depth: int) -> dict[str, Any]:
    if depth > _DEPTH:
        raise WireError(f"nested more deeply than {_DEPTH}")
    fields, document = _messages()[message], dict[str, Any]()
    for number, value in _read_fields(data):
        field = fields.get(str(number))
        if field is None:
            continue
        if field.shape == "map":
            key, item = _decode_entry(value, field.kind, depth)
            document.setdefault(field.name, {})[key] = item
            continue
        decoded = _decode_value(value, field.kind, depth)
        if field.shape == "list":
            document.setdefault(field.name, []).append(decoded)
        elif "i" in field.flags:
            document.update(decoded)
        elif decoded is not None and not _is_left_out(decoded, field):
            document[field.name] = decoded
    return document


def _is_left_out(value: Any, field: Field) -> bool:
    """Go's `omitempty`: zero values of plain fields; a struct never counts as empty."""
    return "o" in field.flags and "p" not in field.flags and not isinstance(value, dict) and not value


def _decode_entry(value: int | bytes, kind: str, depth: int) -> tuple[str, Any]:
    if not isinstance(value, bytes):
        raise TypeError("a map entry is no message")
    parts = dict(_read_fields(value))
    key = parts.get(1, b"")
    if not isinstance(key, bytes):
        raise TypeError("a map key is no string")
    return key.decode(), _decode_value(parts.get(2, b""), kind, depth)


def _decode_value(value: int | bytes, kind: str, depth: int) -> Any:
    if isinstance(value, int):
        if kind == "bool":
            return bool(value)
        return value - (1 << 64) if value >> 63 else value
    match kind:
        case "string":
            return value.decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "double":
            return struct.unpack("<d", value)[0]
        case "int" | "bool":
            raise TypeError("a number was expected")
    special = _SPECIAL.get(kind)
    return special(dict(_read_fields(value)), value) if special else _decode(value, kind, depth + 1)


def _read_time(parts: dict[int, Any], _data: bytes) -> str | None:
    seconds = parts.get(1, 0)
    if not parts or seconds >> 63:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_micro_time(parts: dict[int, Any], _data: bytes) -> str | None:
    seconds = parts.get(1, 0)
    if not parts or seconds >> 63:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{parts.get(2, 0) // 1000:06d}Z"


def _read_int_or_string(parts: dict[int, Any], _data: bytes) -> int | str:
    if parts.get(1, 0) == 1:
        text: bytes = parts.get(3, b"")
        return text.decode()
    number: int = parts.get(2, 0)
    return number - (1 << 64) if number >> 63 else number


def _read_quantity(parts: dict[int, Any], _data: bytes) -> str:
    text: bytes = parts.get(1, b"0")
    return text.decode()


def _read_raw(parts: dict[int, Any], _data: bytes) -> Any:
    try:
        return json.loads(parts.get(1) or b"null")
    except ValueError as error:
        raise WireError(f"an embedded object is no JSON: {error}") from None


def _read_duration(parts: dict[int, Any], _data: bytes) -> str:
    nanoseconds: int = parts.get(1, 0)
    return f"{nanoseconds / _SECOND_NANOSECONDS:g}s"


def _read_strings(_parts: dict[int, Any], data: bytes) -> list[str]:
    return [value.decode() for number, value in _read_fields(data) if number == 1 and isinstance(value, bytes)]


_SPECIAL = {
    f"{_META}.Time": _read_time,
    f"{_META}.MicroTime": _read_micro_time,
    f"{_META}.Duration": _read_duration,
    f"{_META}.FieldsV1": _read_raw,
    f"{_META}.Verbs": _read_strings,
    "k8s.io.apimachinery.pkg.runtime.RawExtension": _read_raw,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _read_int_or_string,
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _read_quantity,
    "k8s.io.api.authentication.v1.ExtraValue": _read_strings,
    "k8s.io.api.authorization.v1.ExtraValue": _read_strings,
    "k8s.io.api.certificates.v1.ExtraValue": _read_strings,
}
