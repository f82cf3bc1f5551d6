"""Mesh-wide settings that decide translation: what a `MeshConfig` says, with Istio's defaults.

Text under the key `mesh` of ConfigMap `istio` in the root namespace -> MeshSettings.

Invariants: what cannot be read counts as absent, field by field, so that a broken edit does not take the mesh down;
fields that translation does not read are not here, so changing them recomputes nothing.
Source: istio/api `mesh/v1alpha1/config.proto`; Istio's pkg/config/mesh (defaults).
We differ: `h2UpgradePolicy` unset means UPGRADE between our own sidecars (DESIGN section 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import yaml

from lateen.api.codec import decode
from lateen.api.extension_provider import ExtensionProvider
from lateen.api.http_route import HTTPRetry
from lateen.api.mesh_config import MeshConfig
from lateen.base.names import CLUSTER_DOMAIN, TRUST_DOMAIN

ROOT_NAMESPACE = "istio-system"  # where `lateen up` and Istio install; MeshConfig.rootNamespace overrides it.


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
    virtual_service_export_to: tuple[str, ...] = ("*",)
    destination_rule_export_to: tuple[str, ...] = ("*",)
    short_name_domain: str = f"svc.{CLUSTER_DOMAIN}"
    """What completes `name.namespace` where an Istio object gives a short host name."""
    dynamic_dns: bool = False
    """Whether undeclared HTTP hosts are resolved anew (ALLOW_ANY_DYNAMIC_DNS)."""
    retries: HTTPRetry | None = None
    """The retries of routes that state none."""
    dns_refresh_rate: timedelta = timedelta(seconds=60)
    verify_by_system_roots: bool = True
    """Whether servers outside of the mesh must show a certificate that the system's authorities vouch for."""
    path_normalization: str = "DEFAULT"
    """How paths are changed before anything compares them, as MeshConfig names it."""
    authorizers: tuple[ExtensionProvider, ...] = ()
    """The extension providers that decide for policies whose action is CUSTOM."""


DEFAULT_SETTINGS = MeshSettings()


def parse_settings(text: str) -> MeshSettings:
    """Return the settings in the YAML text of a MeshConfig."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return DEFAULT_SETTINGS
    if not isinstance(document, Mapping):
        return DEFAULT_SETTINGS
    config = _decode_readable(document)
    return MeshSettings(
        root_namespace=config.root_namespace or ROOT_NAMESPACE,
        trust_domain=config.trust_domain or TRUST_DOMAIN,
        trust_domain_aliases=config.trust_domain_aliases,
        auto_mtls=config.enable_auto_mtls,
        allow_any=config.outbound_traffic_policy.mode != "REGISTRY_ONLY",
        connect_timeout=config.connect_timeout,
        upgrade_to_http2="h2UpgradePolicy" not in document or config.h2_upgrade_policy == "UPGRADE",
        service_export_to=config.default_service_export_to or ("*",),
        virtual_service_export_to=config.default_virtual_service_export_to or ("*",),
        destination_rule_export_to=config.default_destination_rule_export_to or ("*",),
        dynamic_dns=config.outbound_traffic_policy.mode == "ALLOW_ANY_DYNAMIC_DNS",
        retries=config.default_http_retry_policy,
        dns_refresh_rate=config.dns_refresh_rate,
        verify_by_system_roots=config.verify_certificate_at_client,
        path_normalization=config.path_normalization.normalization,
        authorizers=tuple(
            one for one in config.extension_providers if one.envoy_ext_authz_http or one.envoy_ext_authz_grpc
        ),
    )


def _decode_readable(document: Mapping[str, Any]) -> MeshConfig:
    """Return the configuration without the fields that cannot be read."""
    decoded = decode(document, MeshConfig)
    if decoded.value is not None:
        return decoded.value
    broken = {error.path.partition(".")[0].partition("[")[0] for error in decoded.errors}
    readable = {field: value for field, value in document.items() if field not in broken}
    return decode(readable, MeshConfig).value or MeshConfig()
