"""Keys and certificates as bytes in memory, and the TLS settings made of them.

Flow: `KeyPair` (private key, certificate chain) -> `ssl.SSLContext` for servers; roots -> context for
clients. Invariants: a private key is never written to a file system (the standard library loads keys from
files only, so it gets an anonymous one: memfd_create(2)) and never printed; TLS 1.2 is the least. gRPC
takes the PEM bytes as they are.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.base.errors import DataError

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate chain, leaf first, both PEM."""

    key_pem: bytes = field(repr=False)
    chain_pem: bytes


def generate_key() -> ec.EllipticCurvePrivateKey:
    """Return a new ECDSA key on P-256, what every certificate of the mesh uses."""
    return ec.generate_private_key(ec.SECP256R1())


def encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS 8 in PEM: for memory, or a Secret, never for a log."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def split_certificates(pem: bytes) -> list[bytes]:
    """Return each certificate of a PEM text, in order, ending in a newline; other blocks are left out."""
    return [block if block.endswith(b"\n") else block + b"\n" for block in _CERTIFICATE.findall(pem)]


def merge_roots(*bundles: bytes) -> bytes:
    """Return the union of PEM bundles without repetitions, in the order of first appearance."""
    return b"".join(dict.fromkeys(block for bundle in bundles for block in split_certificates(bundle)))


def build_server_context(pair: KeyPair) -> ssl.SSLContext:
    """Return settings for a server that shows `pair`; raises `DataError` when it is no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, pair)
    return context


def build_client_context(roots_pem: bytes | None, pair: KeyPair | None = None) -> ssl.SSLContext:
    """Return settings for a client that trusts `roots_pem` alone (None: the system's) and may show `pair`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if roots_pem is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=roots_pem.decode())
    if pair is not None:
        _load(context, pair)
    return context


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    number = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        with open(number, "wb", closefd=False) as file:
            file.write(pair.key_pem + b"\n" + pair.chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{number}")
    except ssl.SSLError as error:
        raise DataError(f"key and certificate do not make a pair: {error.reason}") from error
    finally:
        os.close(number)
