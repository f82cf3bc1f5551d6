"""The messages of Istio's certificate service, described field by field.

Flow: CSR in PEM -> `IstioCertificateRequest` -> bytes; bytes -> `IstioCertificateResponse` -> certificates
in PEM. Source: the published fields of istio.v1.auth (istio/api security/v1alpha1/ca.proto): a request has
`csr` = 1, `validity_duration` = 3 in seconds, `metadata` = 4; a response has `cert_chain` = 1, leaf first,
root last. The pool is private, so another package's copy of the same file cannot clash.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = f"/{SERVICE}/CreateCertificate"
"""The full gRPC method: citadel serves it, every agent and Istio's own clients call it."""

_FILE = "security/v1alpha1/ca.proto"
_PACKAGE = "istio.v1.auth"

MessageClass = Any
Message = Any


def _describe() -> FileDescriptorProto:
    file = FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto3")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    single, many = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.LABEL_REPEATED
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=FieldDescriptorProto.TYPE_STRING, label=single)
    request.field.add(name="validity_duration", number=3, type=FieldDescriptorProto.TYPE_INT64, label=single)
    request.field.add(
        name="metadata",
        number=4,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".google.protobuf.Struct",
        label=single,
    )
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=FieldDescriptorProto.TYPE_STRING, label=many)
    return file


@cache
def _message_class(name: str) -> MessageClass:
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_describe().SerializeToString(deterministic=True))
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def build_request(csr_pem: str, validity_seconds: int) -> Message:
    """Return a request to sign `csr_pem` for this long; 0 leaves the lifetime to the authority."""
    return _message_class("IstioCertificateRequest")(csr=csr_pem, validity_duration=validity_seconds)


def build_response(chain: list[str]) -> Message:
    """Return a response with the certificates, leaf first, root last."""
    return _message_class("IstioCertificateResponse")(cert_chain=chain)


def encode(message: Message) -> bytes:
    """Return the message's wire format."""
    encoded: bytes = message.SerializeToString(deterministic=True)
    return encoded


def decode_request(body: bytes) -> Message:
    """Return the request; raises protobuf's DecodeError."""
    return _message_class("IstioCertificateRequest").FromString(body)


def decode_response(body: bytes) -> Message:
    """Return the response; raises protobuf's DecodeError."""
    return _message_class("IstioCertificateResponse").FromString(body)
