"""A pod's secrets as Envoy takes them, in memory only.

Flow: key pair + roots -> `ResourceSet` of two Secrets, `default` and `ROOTCA` -> `SecretStore`, which
rings for streams. Invariants: nothing here is written to disk or logged; a store never goes back to empty,
so an expired certificate is still served while the authority is away. Source:
envoy/extensions/transport_sockets/tls/v3/secret.proto; names are Istio's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from lateen.envoy.messages import message_class
from lateen.runtime.tls import KeyPair
from lateen.xds.resources import EMPTY_SET, ResourceSet, build_resource

WORKLOAD_SECRET = "default"
ROOT_SECRET = "ROOTCA"
"""The names that translation writes into every TLS context of the mesh."""


def build_secrets(pair: KeyPair, roots_pem: bytes) -> ResourceSet:
    """Return both secrets; equal input gives equal versions."""
    secret = message_class("envoy.extensions.transport_sockets.tls.v3.Secret")
    workload = secret(name=WORKLOAD_SECRET)
    workload.tls_certificate.certificate_chain.inline_bytes = pair.chain_pem
    workload.tls_certificate.private_key.inline_bytes = pair.key_pem
    root = secret(name=ROOT_SECRET)
    root.validation_context.trusted_ca.inline_bytes = roots_pem
    return ResourceSet([build_resource(workload), build_resource(root)])


class SecretStore:
    """The secrets in force, and the bells of those who serve them."""

    def __init__(self) -> None:
        self._current = EMPTY_SET
        self._bells: set[asyncio.Event] = set()

    @property
    def current(self) -> ResourceSet:
        """The secrets to serve; empty until the first certificate has come."""
        return self._current

    def publish(self, secrets: ResourceSet) -> None:
        """Serve these from now on."""
        self._current = secrets
        for bell in self._bells:
            bell.set()

    @contextlib.contextmanager
    def ring(self, bell: asyncio.Event) -> Iterator[None]:
        """Set the bell at every change while the block runs."""
        self._bells.add(bell)
        try:
            yield
        finally:
            self._bells.discard(bell)
