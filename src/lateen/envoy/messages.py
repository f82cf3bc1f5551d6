"""Envoy's API as Python message classes, from the descriptors inside the pinned Envoy binary.

full name -> message class; message -> bytes; bytes -> message.

Invariants: the classes live in a private `DescriptorPool`, so they clash with no other package's protos and
always match the binary; encoding is deterministic (protobuf's map fields otherwise differ from run to run).
Source: `descriptors.binpb.gz`, written by `tools/extract_envoy_descriptors.py`; nothing else defines a
message here.
Pure: reads one file of this package and does no other input or output.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from lateen.base.errors import NotFoundError
from lateen.envoy.descriptors import DescriptorFiles

# Fields of generated messages are known to protobuf only, not to the type checker.
EnvoyMessage: TypeAlias = Any
EnvoyMessageClass: TypeAlias = Any

TYPE_URL_PREFIX = "type.googleapis.com/"  # Envoy and every xDS client write type URLs with it.


def _read_descriptors() -> bytes:
    return gzip.decompress((files("lateen.envoy") / "descriptors.binpb.gz").read_bytes())


@cache
def get_pool() -> DescriptorPool:
    """Return the pool of every file that the binary carries; each is built when it is first asked for."""
    return DescriptorPool(DescriptorFiles(_read_descriptors()))


@cache
def message_class(full_name: str) -> EnvoyMessageClass:
    """Return the class of a message such as `envoy.config.cluster.v3.Cluster`; raises NotFoundError."""
    try:
        return GetMessageClass(get_pool().FindMessageTypeByName(full_name))
    except KeyError:
        raise NotFoundError(f"Envoy {full_name}: no such message in the pinned Envoy") from None


def type_url_of(message: EnvoyMessage) -> str:
    """Return the type URL of a message, as it stands in an Any."""
    return f"{TYPE_URL_PREFIX}{message.DESCRIPTOR.full_name}"


def encode(message: EnvoyMessage) -> bytes:
    """Return the message's wire format: equal messages give equal bytes."""
    encoded: bytes = message.SerializeToString(deterministic=True)
    return encoded


def decode(full_name: str, body: bytes) -> EnvoyMessage:
    """Return the message in `body`; raises protobuf's DecodeError when it is not one."""
    return message_class(full_name).FromString(body)


def pack_any(message: EnvoyMessage) -> EnvoyMessage:
    """Return the message inside a `google.protobuf.Any`."""
    return message_class("google.protobuf.Any")(type_url=type_url_of(message), value=encode(message))


def unpack_any(packed: EnvoyMessage) -> EnvoyMessage:
    """Return the message inside a `google.protobuf.Any`; raises NotFoundError when its type is unknown."""
    return decode(packed.type_url.rpartition("/")[2], packed.value)


def build_message(full_name: str, document: dict[str, Any]) -> EnvoyMessage:
    """Return the message that a proto3 JSON document describes; slow: for documents, never for generation.

    Raises protobuf's `json_format.ParseError` for a field or value that the message does not have.
    """
    return json_format.ParseDict(document, message_class(full_name)(), descriptor_pool=get_pool())


def build_document(message: EnvoyMessage) -> dict[str, Any]:
    """Return the message as a proto3 JSON document (camelCase fields, Any with `@type`)."""
    document: dict[str, Any] = json_format.MessageToDict(message, descriptor_pool=get_pool())
    return document
