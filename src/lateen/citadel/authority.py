"""Where the authority's key lives: found in the cluster's Secrets, or made and stored once.

Flow: Secret `cacerts` (plugged in by the user), else Secret `istio-ca-secret`, else a new root stored
there -> `CertificateAuthority`. Invariants: of several replicas that start at once one creates the Secret
and all use that one; a Secret that is there but cannot be used is an error and is never overwritten: a new
root would cut every running workload off. Source: Istio, "Plug in CA Certificates" (keys ca-cert.pem,
ca-key.pem, cert-chain.pem, root-cert.pem); type istio.io/ca-root.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.base.errors import ConflictError, DataError, NotFoundError
from lateen.citadel.ca import CertificateAuthority, create_authority, load_authority
from lateen.kube.client import Client
from lateen.runtime.clock import Clock
from lateen.runtime.logging import get_logger
from lateen.runtime.metrics import Metrics

log = get_logger("citadel")

ROOT_NAMESPACE = "istio-system"
CA_SECRET = "istio-ca-secret"
PLUGGED_SECRET = "cacerts"
_CA_SECRET_TYPE = "istio.io/ca-root"

Document = dict[str, Any]


def find_core_kind(name: str) -> Kind:
    """Return a kind of the core group by its name, such as Secret."""
    kind = _CORE.find_kind("", "v1", name)
    if kind is None:
        raise NotFoundError(f"no kind {name} in the core group")
    return kind


_CORE = Registry(BUILTIN)


async def open_authority(client: Client, *, clock: Clock, namespace: str = ROOT_NAMESPACE) -> CertificateAuthority:
    """Return the mesh's authority; raises `DataError` when the Secret that holds it cannot be used."""
    if (plugged := await _find_secret(client, namespace, PLUGGED_SECRET)) is not None:
        log.info("using the plugged-in authority", secret=f"{namespace}/{PLUGGED_SECRET}")
        return _read_plugged(plugged, namespace, clock)
    if (stored := await _find_secret(client, namespace, CA_SECRET)) is not None:
        return _read_stored(stored, namespace, clock)
    created = create_authority(now=clock.now())
    try:
        await client.create(find_core_kind("Secret"), _build_secret(created, namespace))
    except ConflictError:
        log.info("another replica made the authority first", secret=f"{namespace}/{CA_SECRET}")
        return await open_authority(client, clock=clock, namespace=namespace)
    log.info("made a new authority", secret=f"{namespace}/{CA_SECRET}")
    return created


def watch_expiry(authority: CertificateAuthority, clock: Clock, metrics: Metrics) -> None:
    """Show in the metrics when the root and the signing certificate end."""
    expiry = authority.certificate.not_valid_after_utc
    timestamp = metrics.gauge(
        "citadel_server_root_cert_expiry_timestamp", "Unix time at which the signing certificate ends."
    )
    timestamp.set(expiry.timestamp())
    left = metrics.gauge("citadel_server_root_cert_expiry_seconds", "Seconds until the signing certificate ends.")
    left.read_from(lambda: (expiry - clock.now()).total_seconds())


async def _find_secret(client: Client, namespace: str, name: str) -> Mapping[str, str] | None:
    try:
        secret = await client.get(find_core_kind("Secret"), namespace, name)
    except NotFoundError:
        return None
    return secret.get("data") or {}


def _read_stored(data: Mapping[str, str], namespace: str, clock: Clock) -> CertificateAuthority:
    secret = f"{namespace}/{CA_SECRET}"
    certificate = _decode(data, "ca-cert.pem", secret)
    key = _decode(data, "ca-key.pem", secret)
    return _load(secret, certificate, key, b"", certificate, clock)


def _read_plugged(data: Mapping[str, str], namespace: str, clock: Clock) -> CertificateAuthority:
    secret = f"{namespace}/{PLUGGED_SECRET}"
    if "tls.crt" in data:
        certificate, key = _decode(data, "tls.crt", secret), _decode(data, "tls.key", secret)
        return _load(secret, certificate, key, certificate, _decode(data, "ca.crt", secret), clock)
    certificate, key = _decode(data, "ca-cert.pem", secret), _decode(data, "ca-key.pem", secret)
    chain, roots = _decode(data, "cert-chain.pem", secret), _decode(data, "root-cert.pem", secret)
    return _load(secret, certificate, key, chain, roots, clock)


def _load(
    secret: str, certificate: bytes, key: bytes, chain: bytes, roots: bytes, clock: Clock
) -> CertificateAuthority:
    try:
        return load_authority(certificate, key, chain_pem=chain, roots_pem=roots, now=clock.now())
    except DataError as error:
        raise DataError(
            f"Secret {secret}: {error.message}", fix="put a valid authority into it, or delete it"
        ) from error


def _decode(data: Mapping[str, str], key: str, secret: str) -> bytes:
    try:
        return base64.b64decode(data[key], validate=True)
    except (KeyError, binascii.Error):
        raise DataError(f"Secret {secret}: {key} is missing or not base64") from None


def _build_secret(authority: CertificateAuthority, namespace: str) -> Document:
    content = {"ca-cert.pem": authority.certificate_pem, "ca-key.pem": authority.key_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CA_SECRET, "namespace": namespace},
        "type": _CA_SECRET_TYPE,
        "data": {name: base64.b64encode(pem).decode() for name, pem in content.items()},
    }
