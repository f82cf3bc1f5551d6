"""Kubernetes objects as clients in Go may send them: protobuf -> JSON document.

`kubectl create` and typed Go clients encode built-in kinds as protobuf and know no way back to JSON, so these bodies
are read; answers stay JSON, which such clients accept as well. A body is the magic `k8s\\0`, then an envelope
(`Unknown`) that names the kind and carries the message. The layout of the messages is data, taken from Kubernetes' Go
types by `tools/kubernetes_protobuf` (schema/README.md).

Invariant: the document is what Go's JSON encoder would write for the same object: zeros that `omitempty` leaves out are
left out here. Source: the Kubernetes page "API Concepts", section "Kubernetes Protobuf encoding".
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec

from lateen.api.schema.definitions import read_data
from lateen.base.errors import DataError

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\0"
_DEPTH = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

JsonObject = dict[str, Any]


class _Layout(msgspec.Struct):
    kinds: dict[str, str]
    messages: dict[str, dict[str, tuple[str, str, str, str]]]


class _Field(NamedTuple):
    """One field: JSON name, kind of value, message if it is one, and flags as the extracting tool explains them."""

    name: str
    kind: str
    message: str
    repeated: bool
    mapped: bool
    inlined: bool
    zero_is_absent: bool


@cache
def _layout() -> _Layout:
    return msgspec.json.decode(read_data("protobuf.json.gz"), type=_Layout)


@cache
def _fields(message: str) -> dict[int, _Field]:
    return {
        int(number): _Field(name, kind, inner, "r" in flags, "m" in flags, "i" in flags, "z" in flags)
        for number, (name, kind, inner, flags) in _layout().messages[message].items()
    }


def decode_protobuf(body: bytes) -> JsonObject:
    """The document in a protobuf body; DataError if it is none, or of a kind that has no protobuf form."""
    if not body.startswith(_MAGIC):
        raise DataError("the body is no Kubernetes protobuf: its first bytes are wrong")
    try:
        envelope = dict(_parse(body[len(_MAGIC) :]))
        identity = {number: bytes(value).decode() for number, value in _parse(envelope.get(1, b""))}
        api_version, kind = identity.get(1, ""), identity.get(2, "")
        message = _find_message(api_version, kind)
        document = _decode_message(envelope.get(2, b""), message, 0)
    except (IndexError, ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
        raise DataError(f"the body is no Kubernetes protobuf: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **document}


def _find_message(api_version: str, kind: str) -> str:
    kinds = _layout().kinds
    found = kinds.get(f"{api_version}/{kind}") or (kinds.get(kind) if kind == "DeleteOptions" else None)
    if found is None:
        raise DataError(f"{kind} of {api_version} has no protobuf form here; send it as JSON")
    return found


def _parse(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, value) in order; a value is an int or the bytes of anything longer."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        match key & 7:
            case 0:
                value, position = _varint(data, position)
                yield key >> 3, value
            case 1:
                yield key >> 3, data[position : position + 8]
                position += 8
            case 2:
                size, position = _varint(data, position)
                if position + size > len(data):
                    raise ValueError("it ends in the middle of a field")
                yield key >> 3, data[position : position + size]
                position += size
            case 5:
                yield key >> 3, data[position : position + 4]
                position += 4
            case other:
                raise ValueError(f"wire type {other}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number has too many bytes")


def _decode_message(data: bytes, message: str, depth: int) -> JsonObject:
    if depth > _DEPTH:
        raise ValueError("it is nested too deeply")
    fields = _fields(message)
    document: JsonObject = {}
    for number, raw in _parse(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.mapped:
            entry = dict(_parse(raw))
            key = bytes(entry.get(1, b"")).decode()
            document.setdefault(field.name, {})[key] = _decode_value(entry.get(2, _ZERO[field.kind]), field, depth)
        elif field.repeated and field.kind in ("int", "bool") and isinstance(raw, bytes):
            document.setdefault(field.name, []).extend(_signed(value) for value in _packed(raw))
        elif field.repeated:
            document.setdefault(field.name, []).append(_decode_value(raw, field, depth))
        elif field.inlined:
            document.update(_decode_value(raw, field, depth))
        else:
            value = _decode_value(raw, field, depth)
            if value is not None and not (field.zero_is_absent and value in ("", 0, False)):
                document[field.name] = value
    return document


_ZERO: dict[str, Any] = {"int": 0, "bool": 0, "double": bytes(8)} | dict.fromkeys(
    ("string", "bytes", "message", "time", "microtime", "quantity", "intorstring", "raw", "strings"), b""
)


def _packed(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _decode_value(raw: Any, field: _Field, depth: int) -> Any:
    match field.kind:
        case "message":
            return _decode_message(raw, field.message, depth + 1)
        case "string":
            return bytes(raw).decode()
        case "bytes":
            return base64.b64encode(raw).decode()
        case "bool":
            return bool(raw)
        case "int":
            return _signed(raw)
        case "double":
            return msgspec.msgpack.decode(b"\xcb" + raw[::-1])
        case "quantity":
            return bytes(dict(_parse(raw)).get(1, b"")).decode()
        case "strings":
            return [bytes(value).decode() for _, value in _parse(raw)]
        case "raw":
            inner = dict(_parse(raw)).get(1, b"")
            return msgspec.json.decode(inner) if inner else None
        case "intorstring":
            parts = dict(_parse(raw))
            return bytes(parts.get(3, b"")).decode() if parts.get(1) else _signed(parts.get(2, 0))
        case _:
            return _decode_time(raw, micro=field.kind == "microtime")


def _decode_time(raw: bytes, *, micro: bool) -> str | None:
    parts = dict(_parse(raw))
    if not parts:
        return None
    moment = _EPOCH + timedelta(seconds=_signed(parts.get(1, 0)), microseconds=parts.get(2, 0) // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
