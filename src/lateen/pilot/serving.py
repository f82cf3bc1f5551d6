"""The certificate that discovery shows on 15012: issued by its own authority, renewed at half its life.

Flow: authority + clock -> `find_pair()` at each handshake. The names are those under which agents and Istio's own
clients look for it. Source: Istio's service `istiod.istio-system.svc`, DNS names of its DNS certificate.
"""

from __future__ import annotations

from datetime import datetime

from lateen.base.names import CLUSTER_DOMAIN
from lateen.citadel.ca import DEFAULT_LIFETIME, CertificateAuthority
from lateen.runtime.clock import Clock
from lateen.runtime.tls import KeyPair

NAMES = (
    "istiod.istio-system.svc",  # what agents verify: lateen.agent.upstream.DISCOVERY_NAME
    f"istiod.istio-system.svc.{CLUSTER_DOMAIN}",
    "istiod.istio-system",
    "istiod",
    "localhost",
    "127.0.0.1",
)


class ServingCertificate:
    """A key pair that is always young."""

    def __init__(self, authority: CertificateAuthority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._pair: KeyPair | None = None
        self._renew_at = datetime.min

    def find_pair(self) -> KeyPair:
        """The pair to show now."""
        now = self._clock.now()
        if self._pair is None or now >= self._renew_at:
            self._pair = self._authority.issue_serving(NAMES, now=now, lifetime=DEFAULT_LIFETIME)
            self._renew_at = now + DEFAULT_LIFETIME / 2
        return self._pair
