"""Mesh-wide settings that decide translation: what a `MeshConfig` says, with Istio's defaults.

Text under the key `mesh` of ConfigMap `istio` in the root namespace -> MeshSettings.

Invariants: unreadable text gives the defaults, so that a broken edit does not take the mesh down (admission refuses it
before); fields that translation does not read are not here, so changing them recomputes nothing.
Source: istio/api `mesh/v1alpha1/config.proto`; Istio's pkg/config/mesh (defaults).
We differ: `h2UpgradePolicy` unset means UPGRADE between our own sidecars (DESIGN section 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import yaml

from lateen.base.durations import parse_duration
from lateen.base.errors import DataError
from lateen.base.names import CLUSTER_DOMAIN, TRUST_DOMAIN

ROOT_NAMESPACE = "istio-system"  # where `lateen up` and Istio install; MeshConfig.rootNamespace overrides it.

T = TypeVar("T")


class MeshSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What translation reads of a MeshConfig."""

    root_namespace: str = ROOT_NAMESPACE
    trust_domain: str = TRUST_DOMAIN
    trust_domain_aliases: tuple[str, ...] = ()
    cluster_domain: str = CLUSTER_DOMAIN
    auto_mtls: bool = True
    allow_any: bool = True
    """Whether traffic to hosts that nobody declared passes (ALLOW_ANY) or is refused (REGISTRY_ONLY)."""
    connect_timeout: timedelta = timedelta(seconds=10)
    upgrade_to_http2: bool = True
    service_export_to: tuple[str, ...] = ("*",)


DEFAULT_SETTINGS = MeshSettings()


def parse_settings(text: str) -> MeshSettings:
    """Return the settings in the YAML text of a MeshConfig; fields of a wrong type count as absent."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return DEFAULT_SETTINGS
    if not isinstance(document, Mapping):
        return DEFAULT_SETTINGS
    default = DEFAULT_SETTINGS
    return MeshSettings(
        root_namespace=_read(document, "rootNamespace", str, "") or default.root_namespace,
        trust_domain=_read(document, "trustDomain", str, "") or default.trust_domain,
        trust_domain_aliases=_read_texts(document, "trustDomainAliases", ()),
        auto_mtls=_read(document, "enableAutoMtls", bool, default.auto_mtls),
        allow_any=_read_allow_any(document.get("outboundTrafficPolicy")),
        connect_timeout=_read_duration(document, "connectTimeout", default.connect_timeout),
        upgrade_to_http2=_read(document, "h2UpgradePolicy", str, "UPGRADE") == "UPGRADE",
        service_export_to=_read_texts(document, "defaultServiceExportTo", default.service_export_to),
    )


def _read_allow_any(policy: object) -> bool:
    """Whether a policy lets everything pass; one without a mode has the enumeration's zero, REGISTRY_ONLY."""
    return not isinstance(policy, Mapping) or policy.get("mode", 0) not in (0, "REGISTRY_ONLY")


def _read(document: Mapping[str, Any], field: str, kind: type[T], default: T) -> T:
    value = document.get(field)
    return value if isinstance(value, kind) else default


def _read_texts(document: Mapping[str, Any], field: str, default: tuple[str, ...]) -> tuple[str, ...]:
    values = document.get(field)
    return tuple(str(value) for value in values) if isinstance(values, list) and values else default


def _read_duration(document: Mapping[str, Any], field: str, default: timedelta) -> timedelta:
    try:
        return parse_duration(_read(document, field, str, ""))
    except DataError:
        return default
