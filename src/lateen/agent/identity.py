"""A pod's identity: its key, its certificate, the roots it trusts, renewed in time.

Flow: new P-256 key -> CSR -> `CertificateIssuer` with the pod's token -> secrets published; again near
half of the lifetime. Invariants: every certificate has a key of its own, that lives in this process's
memory only; while the authority is away the old certificate is served and renewal is tried again with
back-off; the trust bundle is the union of what the authority sent and what the pod's root file holds, so a
new root is trusted before any certificate is signed with it. Source: Istio security/pkg/nodeagent/cache
(SECRET_GRACE_PERIOD_RATIO 0.5, its jitter 0.01).
"""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.agent.secrets import SecretStore, build_secrets
from lateen.base.errors import LateenError, UnavailableError
from lateen.base.spiffe import SpiffeId
from lateen.runtime.clock import Clock
from lateen.runtime.logging import get_logger
from lateen.runtime.metrics import Metrics
from lateen.runtime.tasks import Backoff
from lateen.runtime.tls import KeyPair, encode_key, generate_key, merge_roots

log = get_logger("agent/identity")

DEFAULT_LIFETIME = timedelta(hours=24)
_RENEW_AT = 0.5
_JITTER = 0.01
_FIRST_RETRY = timedelta(milliseconds=200)
_LAST_RETRY = timedelta(seconds=10)
_LEAST_DELAY = timedelta(seconds=1)  # with a clock far ahead of the authority's nothing has any time left.
# How often the root file is looked at: the node replaces it seconds after its ConfigMap changes.
_ROOT_CHECK = timedelta(seconds=1)


class CertificateIssuer(Protocol):
    """Who signs: discovery's Citadel, reached through the upstream."""

    async def create_certificate(self, csr_pem: bytes, token: str, lifetime: timedelta) -> list[bytes]:
        """Return the chain, leaf first, roots last; raises a `LateenError` when there is none."""


class WorkloadIdentity:
    """Keeps one pod's secrets fresh."""

    def __init__(
        self,
        identity: SpiffeId,
        issuer: CertificateIssuer,
        store: SecretStore,
        *,
        token_file: Path,
        root_cert_file: Path,
        clock: Clock,
        metrics: Metrics,
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> None:
        self._identity = identity
        self._issuer = issuer
        self._store = store
        self._token_file = token_file
        self._root_cert_file = root_cert_file
        self._clock = clock
        self._lifetime = lifetime
        self._pair: KeyPair | None = None
        self._issued_roots = b""
        self._root_file_pem = b""
        self._requests = metrics.counter("istio_agent_num_outgoing_requests", "Requests for certificates.")
        self._failures = metrics.counter(
            "istio_agent_num_failed_outgoing_requests", "Requests for certificates that failed."
        )
        self._expiry = metrics.gauge(
            "istio_agent_cert_expiry_seconds", "Seconds the certificate has left.", "resource_name"
        )

    async def run(self) -> None:
        """Renew until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_certificate())
            group.create_task(self._watch_root_file())

    async def _keep_certificate(self) -> None:
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY)
        while True:
            try:
                expires = await self._renew()
            except LateenError as error:
                self._failures.add()
                log.warning("no new certificate yet", identity=self._identity, reason=error.message)
                await self._clock.sleep(backoff.next())
                continue
            backoff.reset()
            left = expires - self._clock.now()
            self._expiry.set(left.total_seconds(), resource_name="default")
            await self._clock.sleep(max(_LEAST_DELAY, left * random.uniform(_RENEW_AT - _JITTER, _RENEW_AT + _JITTER)))

    async def _renew(self) -> datetime:
        key = generate_key()
        token = await asyncio.to_thread(_read_text, self._token_file)
        self._requests.add()
        log.debug("asking for a certificate", identity=self._identity)
        chain = await self._issuer.create_certificate(build_csr(key, self._identity), token, self._lifetime)
        leaf = _check_leaf(chain, key, self._identity)
        # The last element is the authority's roots, of use in the trust bundle only.
        presented = chain[:-1] or chain
        self._pair = KeyPair(encode_key(key), b"".join(presented))
        self._issued_roots = chain[-1] if len(chain) > 1 else b""
        self._publish()
        log.info("certificate renewed", identity=self._identity, expires=leaf.not_valid_after_utc)
        return leaf.not_valid_after_utc

    async def _watch_root_file(self) -> None:
        while True:
            content = await asyncio.to_thread(_read_or_empty, self._root_cert_file)
            if content and content != self._root_file_pem:
                self._root_file_pem = content
                self._publish()
            await self._clock.sleep(_ROOT_CHECK)

    def _publish(self) -> None:
        if self._pair is not None:
            roots = merge_roots(self._root_file_pem, self._issued_roots)
            self._store.publish(build_secrets(self._pair, roots))


def build_csr(key: ec.EllipticCurvePrivateKey, identity: SpiffeId) -> bytes:
    """Return a signing request in PEM; the authority takes but its key, Istio's also demands the name."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(names, critical=True).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def _check_leaf(chain: list[bytes], key: ec.EllipticCurvePrivateKey, identity: SpiffeId) -> x509.Certificate:
    """Return the leaf; what is not ours must not reach Envoy, which would refuse the pair."""
    try:
        leaf = x509.load_pem_x509_certificate(chain[0])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (IndexError, ValueError, x509.ExtensionNotFound) as error:
        raise UnavailableError("the authority sent no certificate for a workload") from error
    if leaf.public_key() != key.public_key():
        raise UnavailableError("the authority sent a certificate for another key")
    if names.get_values_for_type(x509.UniformResourceIdentifier) != [str(identity)]:
        raise UnavailableError(f"the authority sent a certificate for {list(names)}, not {identity}")
    return leaf


def _read_text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise UnavailableError(f"the pod's token cannot be read: {error.strerror}") from error


def _read_or_empty(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
