"""What the server offers: registry -> the documents of `/api`, `/apis` and each group version.

Both forms: the plain lists, and aggregated discovery (`APIGroupDiscoveryList`), one document per root,
which clients ask for by content negotiation and may keep by ETag. Source: Kubernetes API `meta/v1` and
`apidiscovery/v2`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from lateen.api.kinds import Kind, Registry, format_api_version, order_version

_SUBRESOURCE_VERBS: dict[str, tuple[str, ...]] = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "log": ("get",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "binding": ("create",),
    "eviction": ("create",),
    "token": ("create",),
    "finalize": ("update",),
    "approval": ("get", "patch", "update"),
}
_SUBRESOURCE_KINDS: dict[str, tuple[str, str, str]] = {
    "scale": ("autoscaling", "v1", "Scale"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}
"""Subresources that take another kind than their resource."""


class Discovery:
    """The discovery documents of one registry; `subresources` are those that the server implements."""

    def __init__(self, registry: Registry, implemented: frozenset[str]) -> None:
        self._registry = registry
        self._implemented = implemented

    def core_versions(self) -> dict[str, Any]:
        """The document of `/api`."""
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }

    def groups(self) -> dict[str, Any]:
        """The document of `/apis`."""
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [self._build_group(group) for group in self._group_names() if group],
        }

    def group(self, name: str) -> dict[str, Any] | None:
        """The document of `/apis/GROUP`."""
        if name not in self._group_names():
            return None
        return {"kind": "APIGroup", "apiVersion": "v1"} | self._build_group(name)

    def resources(self, group: str, version: str) -> dict[str, Any] | None:
        """The document of `/apis/GROUP/VERSION` or `/api/v1`."""
        kinds = self._kinds(group, version)
        if not kinds:
            return None
        resources = [entry for kind in kinds for entry in self._build_resources(kind)]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": format_api_version(group, version),
            "resources": sorted(resources, key=lambda entry: str(entry["name"])),
        }

    def aggregated(self, version: str, *, core: bool) -> tuple[bytes, str]:
        """The aggregated document of `/api` or `/apis` and its ETag."""
        names = [group for group in self._group_names() if (group == "") is core]
        document = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": [self._build_group_discovery(group) for group in names],
        }
        body = msgspec.json.encode(document)
        return body, f'"{hashlib.sha256(body).hexdigest().upper()}"'

    def _group_names(self) -> list[str]:
        return list(dict.fromkeys(kind.group for kind in self._registry))

    def _versions(self, group: str) -> list[str]:
        found = {version for kind in self._registry if kind.group == group for version in kind.served_versions}
        return sorted(found, key=order_version)

    def _kinds(self, group: str, version: str) -> list[Kind]:
        return [kind for kind in self._registry if kind.group == group and version in kind.served_versions]

    def _build_group(self, name: str) -> dict[str, Any]:
        versions = [
            {"groupVersion": format_api_version(name, version), "version": version} for version in self._versions(name)
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _subresources(self, kind: Kind) -> list[str]:
        return sorted(kind.subresources & self._implemented)

    def _build_resources(self, kind: Kind) -> list[dict[str, Any]]:
        entry: dict[str, Any] = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        if kind.stored:
            digest = hashlib.sha256(f"{kind.group}/{kind.kind}".encode()).digest()
            entry["storageVersionHash"] = msgspec.json.encode(digest[:8]).decode().strip('"')
        entries = [entry]
        for name in self._subresources(kind):
            group, version, kind_name = _SUBRESOURCE_KINDS.get(name, ("", "", kind.kind))
            subresource: dict[str, Any] = {
                "name": f"{kind.plural}/{name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind_name,
                "verbs": list(_SUBRESOURCE_VERBS[name]),
            }
            if group:
                subresource |= {"group": group, "version": version}
            entries.append(subresource)
        return entries

    def _build_group_discovery(self, group: str) -> dict[str, Any]:
        return {
            "metadata": {"name": group} if group else {},
            "versions": [
                {
                    "version": version,
                    "resources": [self._build_discovery(kind, version) for kind in self._kinds(group, version)],
                    "freshness": "Current",
                }
                for version in self._versions(group)
            ],
        }

    def _build_discovery(self, kind: Kind, version: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "resource": kind.plural,
            "responseKind": {"group": kind.group, "version": version, "kind": kind.kind},
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        if subresources := self._subresources(kind):
            entry["subresources"] = [self._build_subresource_discovery(kind, version, name) for name in subresources]
        return entry

    def _build_subresource_discovery(self, kind: Kind, version: str, name: str) -> dict[str, Any]:
        group, kind_version, kind_name = _SUBRESOURCE_KINDS.get(name, (kind.group, version, kind.kind))
        return {
            "subresource": name,
            "responseKind": {"group": group, "version": kind_version, "kind": kind_name},
            "verbs": list(_SUBRESOURCE_VERBS[name]),
        }
