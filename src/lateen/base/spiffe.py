"""SPIFFE ids as Istio shapes them: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

Flow: parts -> URI -> parts. Source: Istio pkg/spiffe; the SPIFFE-ID standard, sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lateen.base.names import TRUST_DOMAIN, SpiffeUri

_URI_RE = re.compile(r"spiffe://([a-z0-9._-]{1,255})/ns/([a-zA-Z0-9._-]+)/sa/([a-zA-Z0-9._-]+)")


class SpiffeId(NamedTuple):
    """The identity of a workload: its service account."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


def format_spiffe(identity: SpiffeId) -> SpiffeUri:
    """The URI that stands in a certificate's subject alternative name."""
    return SpiffeUri(str(identity))


def parse_spiffe(uri: str) -> SpiffeId | None:
    """The parts of an Istio SPIFFE URI, None when it is not one."""
    found = _URI_RE.fullmatch(uri)
    return None if found is None else SpiffeId(found[1], found[2], found[3])


def workload_identity(namespace: str, service_account: str, *, trust_domain: str = TRUST_DOMAIN) -> SpiffeId:
    """The identity of a service account; an empty account means `default`, as in a pod."""
    return SpiffeId(trust_domain, namespace, service_account or "default")
