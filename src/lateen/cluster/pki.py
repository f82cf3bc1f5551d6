"""Keys of the embedded API server: authority, serving certificate, service-account key, component tokens.

directory -> Pki(ca, serving certificate and key, signing key, tokens), created where something is missing,
so a restarted cluster keeps its identity and every kubeconfig stays valid. `write_kubeconfig` hands an
identity out.

Invariants: files are 0600 in a 0700 directory; keys are ECDSA P-256; the serving certificate is made anew
when it is near its end or lacks a name. Source: the Kubernetes page "PKI certificates and requirements";
where we differ, the system's own components hold bearer tokens, not client certificates.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lateen.base.errors import DataError, UnavailableError

SERVING_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVING_ADDRESSES = ("127.0.0.1", "::1", "10.96.0.1", "10.244.0.1")
"""Loopback, the Service `kubernetes` and the bridge of the pods: how clients reach the server."""

COMPONENTS = ("admin", "discovery", "controllers", "node")
"""Who gets a token; `authentication.py` says which user each is."""

_CA_LIFETIME = datetime.timedelta(days=3650)
_SERVING_LIFETIME = datetime.timedelta(days=365)
_RENEW_BEFORE = datetime.timedelta(days=30)
_BACKDATE = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class Pki:
    """What the API server needs to be recognised and to recognise."""

    ca_pem: bytes
    serving_certificate: Path
    serving_key: Path
    signing_key: ec.EllipticCurvePrivateKey
    tokens: dict[str, str]

    def build_server_context(self) -> ssl.SSLContext:
        """The TLS settings of the server's sockets."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.serving_certificate, self.serving_key)
        return context


def open_pki(directory: Path) -> Pki:
    """Load the keys of a directory, making those that are missing or near their end."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        ca_key = _load_key(directory / "ca.key")
        ca = _load_ca(directory / "ca.crt", ca_key)
        serving_key = _load_key(directory / "apiserver.key")
        _renew_serving(directory / "apiserver.crt", ca, ca_key, serving_key)
        return Pki(
            ca_pem=ca.public_bytes(serialization.Encoding.PEM),
            serving_certificate=directory / "apiserver.crt",
            serving_key=directory / "apiserver.key",
            signing_key=_load_key(directory / "sa.key"),
            tokens=_load_tokens(directory / "tokens.json"),
        )
    except OSError as error:
        raise UnavailableError(f"cannot use {directory}: {error.strerror}") from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise DataError(
            f"{directory} holds a file that cannot be read: {error}",
            fix="remove the directory; clients then need the new kubeconfig",
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once by one that only its owner may read."""
    draft = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def write_kubeconfig(path: Path, *, server: str, ca_pem: bytes, token: str, user: str) -> None:
    """Write a kubeconfig (0600) with one cluster, user and context, all current."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = msgspec.json.decode(msgspec.json.encode(ca_pem))
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lateen", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "lateen", "context": {"cluster": "lateen", "user": user}}],
        "current-context": "lateen",
    }
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem)
        return key
    loaded = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path.name} is no elliptic curve key")
    return loaded


def _load_ca(path: Path, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    if path.exists():
        return x509.load_pem_x509_certificate(path.read_bytes())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    certificate = (
        _begin(name, name, key.public_key(), _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def _renew_serving(
    path: Path, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey
) -> None:
    wanted: list[x509.GeneralName] = [x509.DNSName(name) for name in SERVING_NAMES]
    wanted += [x509.IPAddress(ipaddress.ip_address(address)) for address in SERVING_ADDRESSES]
    if path.exists() and _serves(x509.load_pem_x509_certificate(path.read_bytes()), wanted, ca):
        return
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    certificate = (
        _begin(name, ca.subject, key.public_key(), _SERVING_LIFETIME)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))


def _serves(certificate: x509.Certificate, wanted: Sequence[x509.GeneralName], ca: x509.Certificate) -> bool:
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return left > _RENEW_BEFORE and certificate.issuer == ca.subject and set(wanted) <= set(names)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load_tokens(path: Path) -> dict[str, str]:
    tokens = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
    if missing := [component for component in COMPONENTS if component not in tokens]:
        tokens |= {component: secrets.token_urlsafe(32) for component in missing}
        write_private(path, msgspec.json.encode(tokens))
    return tokens
