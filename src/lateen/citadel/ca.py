"""The signing half of the certificate authority: a key, its chain, and certificates made with it.

Flow: CSR (PEM) + identity proven elsewhere + lifetime -> certificate chain (PEM). Does no I/O and logs
nothing. Invariants: of a CSR only the public key is taken, and only when the CSR's own signature is good;
the one name in a workload certificate is the SPIFFE id given by the caller, in a critical subject
alternative name (the subject is empty: RFC 5280, 4.2.1.6; X.509-SVID, section 2); no certificate outlives
its issuer; the private key leaves this object only through `key_pem`, for the Secret it is kept in.
Source: Istio security/pkg/pki/ca. We differ: ECDSA P-256 where Istio makes RSA 2048 (a signature costs a
tenth); an existing RSA root is used as it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lateen.base.errors import DataError
from lateen.base.names import TRUST_DOMAIN
from lateen.base.spiffe import SpiffeId
from lateen.runtime.tls import KeyPair, encode_key, generate_key, split_certificates

ROOT_LIFETIME = timedelta(days=3650)
DEFAULT_LIFETIME = timedelta(hours=24)
MAX_LIFETIME = timedelta(days=90)
"""Root, workload and longest workload certificate, as in istiod (CITADEL_SELF_SIGNED_CA_CERT_TTL,
DEFAULT_WORKLOAD_CERT_TTL, MAX_WORKLOAD_CERT_TTL)."""

_BACKDATE = timedelta(minutes=2)  # peers' clocks may be behind; istiod's CLOCK_SKEW_GRACE_PERIOD.
_LEAST_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
SubjectKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class CsrError(DataError):
    """The certificate signing request cannot be signed as it is."""


class LifetimeError(DataError):
    """The lifetime asked for is beyond what the authority grants."""


@dataclass(frozen=True)
class CertificateAuthority:
    """A signing certificate with its key, the intermediates above it, and the roots that peers trust."""

    key: SigningKey = field(repr=False)
    certificate: x509.Certificate
    intermediates_pem: bytes = b""
    roots_pem: bytes = b""

    @cached_property
    def key_pem(self) -> bytes:
        """The private key, for the Secret `istio-ca-secret` alone."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @cached_property
    def certificate_pem(self) -> bytes:
        """The signing certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def sign(
        self,
        csr_pem: bytes,
        identity: SpiffeId,
        *,
        now: datetime,
        lifetime: timedelta = DEFAULT_LIFETIME,
        max_lifetime: timedelta = MAX_LIFETIME,
    ) -> list[bytes]:
        """Return the chain for a workload: its certificate, intermediates, and last the roots as one bundle.

        Raises `CsrError` for a request that is broken or weak, `LifetimeError` beyond `max_lifetime`.
        """
        if lifetime > max_lifetime:
            raise LifetimeError(f"a lifetime of {lifetime} is more than the {max_lifetime} granted")
        subject_key = _take_public_key(csr_pem)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(identity))]
        leaf = self._issue(subject_key, names, now, lifetime)
        return self._chain(leaf)

    def issue_serving(self, names: Sequence[str], *, now: datetime, lifetime: timedelta = DEFAULT_LIFETIME) -> KeyPair:
        """Return a new key with a certificate for DNS names and IP addresses: for our own servers."""
        key = generate_key()
        general = [_build_general_name(name) for name in names]
        leaf = self._issue(key.public_key(), general, now, lifetime)
        # The root stays out: whoever verifies has it, and it tells nothing when sent along.
        return KeyPair(encode_key(key), b"".join(self._chain(leaf)[: 1 + len(self._above)]))

    @cached_property
    def _above(self) -> list[bytes]:
        return split_certificates(self.intermediates_pem)

    def _chain(self, leaf: x509.Certificate) -> list[bytes]:
        return [
            leaf.public_bytes(serialization.Encoding.PEM),
            *self._above,
            self.roots_pem,
        ]

    def _issue(
        self,
        subject_key: SubjectKey,
        names: list[x509.GeneralName],
        now: datetime,
        lifetime: timedelta,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder(subject_name=_NO_NAME, issuer_name=self.certificate.subject)
            .public_key(subject_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _BACKDATE, self.certificate.not_valid_before_utc))
            .not_valid_after(min(now + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(_LEAF_USAGE, critical=True)
            .add_extension(_LEAF_PURPOSES, critical=False)
            .add_extension(_NO_AUTHORITY, critical=True)
            .add_extension(self._authority_key, critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
        )
        return builder.sign(self.key, hashes.SHA256())

    @cached_property
    def _authority_key(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key())  # type: ignore[arg-type]


def create_authority(*, now: datetime, organization: str = TRUST_DOMAIN) -> CertificateAuthority:
    """Return a new self-signed root for the mesh."""
    key = generate_key()
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + ROOT_LIFETIME)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertificateAuthority(key, certificate, roots_pem=certificate.public_bytes(serialization.Encoding.PEM))


def load_authority(
    certificate_pem: bytes, key_pem: bytes, *, chain_pem: bytes = b"", roots_pem: bytes = b"", now: datetime
) -> CertificateAuthority:
    """Return the authority of these PEM texts; without `roots_pem` the certificate is its own root.

    `chain_pem` is Istio's cert-chain.pem: the intermediates, which may begin with the signing certificate
    itself. Raises `DataError` when they do not fit together, cannot sign, or have expired.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DataError("the authority's certificate or key is not readable PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise DataError("the authority's key is neither ECDSA nor RSA")
    if _encode_public(key.public_key()) != _encode_public(certificate.public_key()):
        raise DataError("the authority's key does not belong to its certificate")
    _check_can_sign(certificate, now)
    own = certificate.public_bytes(serialization.Encoding.PEM)
    self_signed = certificate.issuer == certificate.subject
    above = [] if self_signed else [own]
    above += [each for each in split_certificates(chain_pem) if _same(each) != own and not _is_root(each)]
    return CertificateAuthority(key, certificate, b"".join(above), roots_pem or own)


def _check_can_sign(certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise DataError(f"the authority's certificate expired at {certificate.not_valid_after_utc}")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise DataError("the authority's certificate has no basic constraints: it may not sign") from None
    if not constraints.ca:
        raise DataError("the authority's certificate says CA:FALSE: it may not sign")


def _take_public_key(csr_pem: bytes) -> SubjectKey:
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        key = csr.public_key()
        valid = csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CsrError("the certificate signing request is not readable PEM") from error
    if not valid:
        raise CsrError("the certificate signing request is not signed by its own key")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    raise CsrError("the key is neither ECDSA on P-256, P-384 or P-521 nor RSA of 2048 bits or more")


def _build_general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _same(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.PEM)


def _is_root(pem: bytes) -> bool:
    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.issuer == certificate.subject


def _encode_public(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_encipherment=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_NO_NAME = x509.Name([])
_LEAF_USAGE = _key_usage(signs_certificates=False)
_LEAF_PURPOSES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
_NO_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)
