"""The discovery messages of the xDS protocol, read and written without Envoy's descriptors.

Flow: request bytes -> `DeltaRequest`; resource fragments and names -> response bytes.

Only the envelope is described here, by hand from the published fields of
envoy/service/discovery/v3/discovery.proto; `node` stays bytes, since only whoever identifies the proxy needs
it, once for each stream. Responses are concatenations: protobuf merges the fields of concatenated messages,
so a payload made once serves every stream. Invariants: what cannot be decoded raises `MalformedRequest`.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from lateen.base.errors import DataError
from lateen.xds.resources import encode_field

ADS_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
DELTA_METHOD = "DeltaAggregatedResources"
STATE_METHOD = "StreamAggregatedResources"

_PACKAGE = "lateen.xds"
_STRING = FieldDescriptorProto.TYPE_STRING
_BYTES = FieldDescriptorProto.TYPE_BYTES
_INT32 = FieldDescriptorProto.TYPE_INT32
_MESSAGE = FieldDescriptorProto.TYPE_MESSAGE

# message -> (field, number, type, "" | "*" repeated | name of the message type)
_FIELDS: dict[str, tuple[tuple[str, int, Any, str], ...]] = {
    "Status": (("code", 1, _INT32, ""), ("message", 2, _STRING, "")),
    "Versions": (("key", 1, _STRING, ""), ("value", 2, _STRING, "")),
    "DeltaRequest": (
        ("node", 1, _BYTES, ""),
        ("type_url", 2, _STRING, ""),
        ("subscribe", 3, _STRING, "*"),
        ("unsubscribe", 4, _STRING, "*"),
        ("versions", 5, _MESSAGE, "*Versions"),
        ("nonce", 6, _STRING, ""),
        ("error", 7, _MESSAGE, "Status"),
    ),
    "Any": (("type_url", 1, _STRING, ""), ("value", 2, _BYTES, "")),
    "Entry": (
        ("version", 1, _STRING, ""),
        ("resource", 2, _MESSAGE, "Any"),
        ("name", 3, _STRING, ""),
        ("aliases", 4, _STRING, "*"),
    ),
    "DeltaResponse": (
        ("resources", 2, _MESSAGE, "*Entry"),
        ("type_url", 4, _STRING, ""),
        ("nonce", 5, _STRING, ""),
        ("removed", 6, _STRING, "*"),
    ),
}


class MalformedRequest(DataError):
    """Bytes that are no discovery message."""


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """One DeltaDiscoveryRequest; `error` is None unless it refuses the response named by `nonce`."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str | None = None
    node: bytes = b""


@dataclass(frozen=True, slots=True)
class DeltaResponse:
    """One DeltaDiscoveryResponse as a client reads it: name -> (version, message bytes)."""

    type_url: str
    nonce: str
    resources: dict[str, tuple[str, bytes]]
    removed: tuple[str, ...]


@cache
def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="lateen/xds/discovery.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        message: DescriptorProto = file.message_type.add(name=name)
        for field_name, number, kind, shape in fields:
            added = message.field.add(name=field_name, number=number, type=kind)
            added.label = (
                FieldDescriptorProto.LABEL_REPEATED if shape.startswith("*") else FieldDescriptorProto.LABEL_OPTIONAL
            )
            if target := shape.lstrip("*"):
                added.type_name = f".{_PACKAGE}.{target}"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString(deterministic=True))
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _FIELDS}


def decode_delta_request(data: bytes) -> DeltaRequest:
    """The request in `data`; raises MalformedRequest."""
    try:
        message = _classes()["DeltaRequest"].FromString(data)
    except DecodeError as error:
        raise MalformedRequest("not a DeltaDiscoveryRequest") from error
    return DeltaRequest(
        type_url=message.type_url,
        subscribe=tuple(message.subscribe),
        unsubscribe=tuple(message.unsubscribe),
        versions={entry.key: entry.value for entry in message.versions},
        nonce=message.nonce,
        error=message.error.message if message.HasField("error") else None,
        node=message.node,
    )


def encode_delta_request(request: DeltaRequest) -> bytes:
    """`request` in wire format, as a client sends it."""
    message = _classes()["DeltaRequest"](
        type_url=request.type_url,
        subscribe=request.subscribe,
        unsubscribe=request.unsubscribe,
        nonce=request.nonce,
        node=request.node,
    )
    for name, version in sorted(request.versions.items()):
        message.versions.add(key=name, value=version)
    if request.error is not None:
        message.error.code = 13
        message.error.message = request.error
    encoded: bytes = message.SerializeToString(deterministic=True)
    return encoded


def encode_delta_response(type_url: str, nonce: str, payload: bytes, removed: tuple[str, ...] = ()) -> bytes:
    """A DeltaDiscoveryResponse around `payload`, a concatenation of `Resource.body`."""
    names = b"".join(encode_field(6, name.encode()) for name in removed)
    return payload + names + encode_field(4, type_url.encode()) + encode_field(5, nonce.encode())


def decode_delta_response(data: bytes) -> DeltaResponse:
    """The response in `data`; raises MalformedRequest."""
    try:
        message = _classes()["DeltaResponse"].FromString(data)
    except DecodeError as error:
        raise MalformedRequest("not a DeltaDiscoveryResponse") from error
    return DeltaResponse(
        type_url=message.type_url,
        nonce=message.nonce,
        resources={entry.name: (entry.version, entry.resource.value) for entry in message.resources},
        removed=tuple(message.removed),
    )
