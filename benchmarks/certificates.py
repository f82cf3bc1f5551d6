"""How many workload certificates one core signs in a second: `python benchmarks/certificates.py`.

Flow: one CSR, signed again and again by `CertificateAuthority.sign` -> certificates per CPU second,
without gRPC and TokenReview.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from figures import report
from lateen.agent.identity import build_csr
from lateen.base.spiffe import SpiffeId
from lateen.citadel.ca import create_authority
from lateen.runtime.tls import generate_key

_CERTIFICATES = 2000


def measure_signing() -> float:
    """Return certificates per CPU second."""
    now = datetime.now(UTC)
    authority = create_authority(now=now)
    identity = SpiffeId("cluster.local", "default", "web")
    csr = build_csr(generate_key(), identity)
    started = time.process_time()
    for _ in range(_CERTIFICATES):
        authority.sign(csr, identity, now=now)
    return _CERTIFICATES / (time.process_time() - started)


if __name__ == "__main__":
    report("certificates signed", round(measure_signing()), "/s of CPU")
