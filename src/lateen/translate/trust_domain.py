"""Identities of the mesh under each of its trust domains.

principal as a policy names it -> the same principal in the mesh's trust domain and its aliases.

A mesh that moves to another trust domain keeps its policies: a name in one of its domains, or in `cluster.local`, which
stands for them all, means every one of them. A name in a foreign domain, in any (`*/ns/...`), or of another form means
itself. Source: Istio's pilot/pkg/security/trustdomain.
"""

from __future__ import annotations

from collections.abc import Sequence

from lateen.base.names import TRUST_DOMAIN

_PARTS = 5  # DOMAIN/ns/NAMESPACE/sa/ACCOUNT


def list_aliases(principals: Sequence[str], trust_domains: Sequence[str]) -> tuple[str, ...]:
    """Return principals under all trust domains of the mesh, in the order of the domains."""
    found: list[str] = []
    for principal in principals:
        found += _list_aliases(principal, trust_domains)
    return tuple(found)


def list_domain_aliases(domains: Sequence[str], trust_domains: Sequence[str]) -> tuple[str, ...]:
    """Return trust domains, each of the mesh's own for all of them."""
    found: list[str] = []
    for domain in domains:
        found += trust_domains if domain in trust_domains else (domain,)
    return tuple(dict.fromkeys(found))


def _list_aliases(principal: str, trust_domains: Sequence[str]) -> list[str]:
    domain, *rest = principal.split("/")
    if len(rest) + 1 != _PARTS or domain == "*":
        return [principal]
    if domain != TRUST_DOMAIN and not any(_matches(domain, own) for own in trust_domains):
        return [principal]
    found = [principal if _ends(domain, own) else "/".join((own, *rest)) for own in trust_domains]
    return list(dict.fromkeys(found)) or [principal]


def _matches(pattern: str, domain: str) -> bool:
    return _ends(pattern, domain) or (pattern.endswith("*") and domain.startswith(pattern[:-1]))


def _ends(pattern: str, domain: str) -> bool:
    """Whether a domain is the pattern, or ends as `*SUFFIX` says."""
    return domain.endswith(pattern[1:]) if pattern.startswith("*") else domain == pattern
