"""Words for what routes and virtual hosts match, and for the object behind a piece of configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lateen.cli.proxy_config.dump import Document

_CONFIG_PATH = re.compile(r"/apis/networking\.istio\.io/[^/]+/namespaces/([^/]+)/[^/]+/([^/]+)")
_MOST_DOMAINS = 2


def describe_match(match: Document) -> str:
    """The path part of a route's match."""
    words = []
    if match.get("prefix"):
        words.append(f"{match['prefix']}*")
    if match.get("pathSeparatedPrefix"):
        words.append(f"PathPrefix:{match['pathSeparatedPrefix']}")
    if match.get("path"):
        words.append(match["path"])
    if "safeRegex" in match:
        words.append(f"regex {match['safeRegex'].get('regex', '')}")
    return " ".join(words)


def describe_config(resource: Document) -> str:
    """`name.namespace` of the VirtualService or DestinationRule that Istio's metadata names, or nothing."""
    metadata: Any = resource.get("metadata", {}).get("filterMetadata", {}).get("istio", {})
    path = str(metadata.get("config", ""))
    found = _CONFIG_PATH.fullmatch(path)
    if found:
        return f"{found[2]}.{found[1]}"
    return "<unknown>" if path else ""


def describe_domains(domains: list[str]) -> str:
    """The domains of a virtual host without ports and longer forms of the same name, the first ones of many."""
    if len(domains) <= 1:
        return "".join(domains)
    names = _drop_longer_forms([domain for domain in domains if ":" not in domain or domain.count(":") > 2])
    shown = ", ".join(names[:_MOST_DOMAINS])
    return f"{shown} + {len(names) - _MOST_DOMAINS} more..." if len(names) > _MOST_DOMAINS else shown


def _drop_longer_forms(domains: Iterable[str]) -> list[str]:
    """Without `a.b.svc` and `a.b.svc.cluster.local` where `a.b` is there."""
    listed = list(domains)
    known = set(listed)

    def is_longer(domain: str) -> bool:
        return any(
            domain.endswith(suffix) and domain.removesuffix(suffix) in known
            for suffix in (".svc.cluster.local", ".svc")
        )

    return [domain for domain in listed if not is_longer(domain)]
