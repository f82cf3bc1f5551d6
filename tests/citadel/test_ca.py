"""Signing: what gets into a certificate, and what is refused; OpenSSL verifies, through the ssl module."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lateen.base.errors import DataError
from lateen.base.spiffe import SpiffeId
from lateen.citadel.ca import (
    MAX_LIFETIME,
    CertificateAuthority,
    CsrError,
    LifetimeError,
    create_authority,
    load_authority,
)
from lateen.runtime.tls import KeyPair, build_client_context, build_server_context, encode_key, generate_key

NOW = datetime.now(UTC).replace(microsecond=0)
WEB = SpiffeId("cluster.local", "shop", "web")


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return create_authority(now=NOW)


def make_csr(key=None, *, names=(), common_name="") -> bytes:
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key or generate_key(), algorithm).public_bytes(serialization.Encoding.PEM)


def leaf_of(chain: list[bytes]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain[0])


def test_a_workload_certificate_has_the_given_identity_and_only_the_csrs_key(authority):
    key = generate_key()
    stolen = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/kube-system/sa/admin")
    csr = make_csr(key, names=[stolen, x509.DNSName("evil.example")], common_name="admin")
    chain = authority.sign(csr, WEB, now=NOW)
    leaf = leaf_of(chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/web")]
    assert list(leaf.subject) == []
    assert leaf.public_key() == key.public_key()
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert leaf.not_valid_after_utc - NOW == timedelta(hours=24)
    assert leaf.not_valid_before_utc <= NOW
    assert chain[-1] == authority.roots_pem
    leaf.verify_directly_issued_by(authority.certificate)


def test_a_csr_whose_signature_is_broken_is_refused(authority):
    der = bytearray(x509.load_pem_x509_csr(make_csr()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    broken = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CsrError, match="not signed by its own key"):
        authority.sign(broken, WEB, now=NOW)


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"hello",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        make_csr(ed25519.Ed25519PrivateKey.generate()),
        make_csr(ec.generate_private_key(ec.SECP256K1())),
        make_csr(rsa.generate_private_key(65537, 1024)),
    ],
    ids=["empty", "no PEM", "no CSR", "Ed25519", "another curve", "short RSA"],
)
def test_a_csr_that_cannot_be_signed_is_refused(authority, csr):
    with pytest.raises(CsrError):
        authority.sign(csr, WEB, now=NOW)


def test_a_lifetime_beyond_the_maximum_is_refused(authority):
    authority.sign(make_csr(), WEB, now=NOW, lifetime=MAX_LIFETIME)
    with pytest.raises(LifetimeError):
        authority.sign(make_csr(), WEB, now=NOW, lifetime=MAX_LIFETIME + timedelta(seconds=1))


def test_no_certificate_outlives_its_issuer(authority):
    late = authority.certificate.not_valid_after_utc - timedelta(hours=1)
    leaf = leaf_of(authority.sign(make_csr(), WEB, now=late))
    assert leaf.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_an_authority_that_was_stored_signs_as_before(authority):
    again = load_authority(authority.certificate_pem, authority.key_pem, now=NOW)
    leaf_of(again.sign(make_csr(), WEB, now=NOW)).verify_directly_issued_by(authority.certificate)
    assert again.roots_pem == authority.roots_pem


def make_intermediate(root: CertificateAuthority) -> tuple[bytes, bytes]:
    key = generate_key()
    certificate = (
        x509.CertificateBuilder(
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "intermediate")]),
            issuer_name=root.certificate.subject,
        )
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root.key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), encode_key(key)


def test_a_plugged_in_intermediate_puts_its_chain_into_every_certificate(authority):
    certificate_pem, key_pem = make_intermediate(authority)
    plugged = load_authority(
        certificate_pem,
        key_pem,
        chain_pem=certificate_pem + authority.roots_pem,
        roots_pem=authority.roots_pem,
        now=NOW,
    )
    chain = plugged.sign(make_csr(), WEB, now=NOW)
    assert chain[1:] == [certificate_pem, authority.roots_pem]


def make_leaf_only(root: CertificateAuthority) -> tuple[bytes, bytes]:
    pair = root.issue_serving(["istiod.istio-system.svc"], now=NOW)
    return pair.chain_pem, pair.key_pem


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda ca: (b"hello", ca.key_pem), "not readable"),
        (lambda ca: (ca.certificate_pem, b"hello"), "not readable"),
        (lambda ca: (ca.certificate_pem, encode_key(generate_key())), "does not belong"),
        (make_leaf_only, "CA:FALSE"),
    ],
    ids=["no certificate", "no key", "another's key", "not an authority"],
)
def test_an_authority_that_cannot_sign_is_refused(authority, broken, says):
    certificate_pem, key_pem = broken(authority)
    with pytest.raises(DataError, match=says):
        load_authority(certificate_pem, key_pem, now=NOW)


def test_an_expired_authority_is_refused(authority):
    with pytest.raises(DataError, match="expired"):
        load_authority(authority.certificate_pem, authority.key_pem, now=NOW + timedelta(days=4000))


def test_an_rsa_root_made_by_istio_signs_too():
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    ours = load_authority(certificate.public_bytes(serialization.Encoding.PEM), pem, now=NOW)
    leaf_of(ours.sign(make_csr(), WEB, now=NOW)).verify_directly_issued_by(certificate)


def test_private_keys_do_not_show_when_printed(authority):
    pair = authority.issue_serving(["localhost"], now=NOW)
    assert "PRIVATE" not in repr(pair)
    assert "key" not in repr(authority).replace("KeyUsage", "")


async def test_two_workloads_authenticate_each_other_over_tls(authority):
    def pair_for(identity: SpiffeId) -> KeyPair:
        key = generate_key()
        return KeyPair(encode_key(key), b"".join(authority.sign(make_csr(key), identity, now=NOW)[:-1]))

    server_context = build_server_context(authority.issue_serving(["localhost", "127.0.0.1"], now=NOW))
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.load_verify_locations(cadata=authority.roots_pem.decode())
    seen = asyncio.get_running_loop().create_future()

    async def answer(reader, writer):
        seen.set_result(writer.get_extra_info("peercert")["subjectAltName"])
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context)
    async with server:
        client = build_client_context(authority.roots_pem, pair_for(WEB))
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        assert await seen == (("URI", str(WEB)),)
        await reader.read()
        writer.close()
        await writer.wait_closed()


def test_key_and_certificate_of_different_pairs_are_refused(authority):
    one, other = (authority.issue_serving(["localhost"], now=NOW) for _ in range(2))
    with pytest.raises(DataError, match="pair"):
        build_server_context(KeyPair(one.key_pem, other.chain_pem))
