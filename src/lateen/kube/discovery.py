"""What a server serves: its aggregated discovery documents -> kinds, each in its preferred version.

Source: the Kubernetes page "API Discovery", apidiscovery.k8s.io/v2 (Kubernetes 1.30 and newer).
"""

from __future__ import annotations

from typing import Any

import msgspec

from lateen.api.kinds import Kind
from lateen.kube.client import Client

_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


async def discover(client: Client) -> tuple[Kind, ...]:
    """Every kind that the server serves, in its order."""
    kinds: list[Kind] = []
    for path in ("/api", "/apis"):
        answer = msgspec.json.decode(await client.raw("GET", path, accept=_ACCEPT))
        for group in answer.get("items") or ():
            kinds += _decode_group((group.get("metadata") or {}).get("name") or "", group.get("versions") or [])
    return tuple(kinds)


def _decode_group(group: str, versions: list[dict[str, Any]]) -> list[Kind]:
    kinds: dict[str, Kind] = {}
    for version in versions:
        if version.get("freshness") == "Stale":
            continue
        for resource in version.get("resources") or ():
            plural = resource["resource"]
            served = tuple(
                other["version"]
                for other in versions
                if any(found["resource"] == plural for found in other.get("resources") or ())
            )
            kinds.setdefault(
                plural,
                Kind(
                    group=group,
                    version=version["version"],
                    served_versions=served,
                    kind=resource["responseKind"]["kind"],
                    plural=plural,
                    singular=resource.get("singularResource") or "",
                    short_names=tuple(resource.get("shortNames") or ()),
                    namespaced=resource.get("scope") == "Namespaced",
                    categories=tuple(resource.get("categories") or ()),
                    subresources=frozenset(found["subresource"] for found in resource.get("subresources") or ()),
                    verbs=tuple(resource.get("verbs") or ()),
                    builtin=False,
                ),
            )
    return list(kinds.values())
