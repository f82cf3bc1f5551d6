"""`proxy-config secret`: the certificates that an Envoy has, and how long they are valid.

Envoy redacts private keys in its dump, so none is here. TRUST DOMAIN appears where a SPIFFE validator names domains.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import click
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from lateen.cli.proxy_config.dump import ConfigDump, Document, DumpError, unpack
from lateen.cli.proxy_config.table import print_columns, print_documents

CHAIN, AUTHORITY = "Cert Chain", "CA"
_HEADER = ("RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE")


class Certificate(NamedTuple):
    """One row; empty fields where there is no certificate yet."""

    name: str
    kind: str
    status: str
    valid: str = "false"
    serial: str = ""
    not_after: str = ""
    not_before: str = ""
    trust_domain: str = ""


def print_secrets(dump: ConfigDump, form: str, *, now: datetime, prefix: str = "") -> None:
    """Print the secrets of a dump."""
    if form != "short":
        try:
            print_documents(dump.section("SecretsConfigDump"), form)
        except DumpError as error:
            raise DumpError(f"sidecar doesn't support secrets: {error.message}") from error
        return
    section = dump.section("SecretsConfigDump")
    secrets = [(each, "ACTIVE") for each in section.get("dynamicActiveSecrets", ())]
    secrets += [(each, "WARMING") for each in section.get("dynamicWarmingSecrets", ())]
    if not secrets:
        click.echo("No active or warming secrets found.")
        return
    found = [row for each, status in secrets for row in find_certificates(each, status, now)]
    has_domains = any(row.trust_domain for row in found if row.kind == AUTHORITY)
    header = (*_HEADER, "TRUST DOMAIN") if has_domains else _HEADER
    print_columns(header, [(prefix + row.name, *row[1 : len(header)]) for row in found])


def find_certificates(secret: Document, status: str, now: datetime) -> list[Certificate]:
    """The certificates of one secret: the first of a chain, or the first of each trust bundle."""
    name, content = secret.get("name", ""), unpack(secret.get("secret"))
    if "tlsCertificate" in content:
        bundle = _read_bytes(content["tlsCertificate"].get("certificateChain", {}))
        return [_describe(name, CHAIN, status, bundle, now)]
    context = content.get("validationContext", {})
    validator = context.get("customValidatorConfig", {}).get("typedConfig", {})
    if domains := validator.get("trustDomains"):
        return [
            _describe(name, AUTHORITY, status, _read_bytes(each.get("trustBundle", {})), now, each.get("name", ""))
            for each in domains
        ]
    return [_describe(name, AUTHORITY, status, _read_bytes(context.get("trustedCa", {})), now)]


def _read_bytes(source: Document) -> bytes:
    try:
        return base64.b64decode(source.get("inlineBytes", "")) or str(source.get("inlineString", "")).encode()
    except binascii.Error:
        return b""


def _describe(name: str, kind: str, status: str, bundle: bytes, now: datetime, domain: str = "") -> Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(bundle)
    except ValueError:
        return Certificate(name, kind, status, trust_domain=domain)
    serial = f"{certificate.serial_number:x}"
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Certificate(
        name,
        kind,
        status,
        str(begins <= now <= ends).lower(),
        serial.zfill(len(serial) + len(serial) % 2),
        ends.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        begins.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        domain or _find_trust_domain(certificate),
    )


def _find_trust_domain(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return ""
    assert isinstance(names, x509.SubjectAlternativeName)
    uris: Iterable[str] = names.get_values_for_type(x509.UniformResourceIdentifier)
    return next((uri.removeprefix("spiffe://").partition("/")[0] for uri in uris if uri.startswith("spiffe://")), "")
