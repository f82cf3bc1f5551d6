"""How the proxy of a pod starts: the mesh's `defaultConfig` with the pod's `proxy.istio.io/config` on top.

Flow: annotation (YAML) + settings -> effective ProxyConfig as a mapping -> PROXY_CONFIG (what differs from Istio's own
defaults, JSON). An annotation's fields replace those of the mesh; `proxyMetadata` is merged by key.
Source: Istio's page "Mesh configuration, ProxyConfig"; the injection template's `protoToJSON`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from lateen.base.errors import DataError
from lateen.inject.settings import DEFAULT_PROXY_CONFIG, InjectionSettings

ANNOTATION = "proxy.istio.io/config"
_METADATA = "proxyMetadata"


def find_proxy_config(annotations: Mapping[str, str], settings: InjectionSettings) -> dict[str, Any]:
    """The effective ProxyConfig; raises DataError for an annotation that is no YAML mapping."""
    effective = dict(settings.proxy_config)
    text = annotations.get(ANNOTATION)
    if not text:
        return effective
    try:
        own = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"annotation {ANNOTATION} is no YAML: {error}") from error
    if own is not None and not isinstance(own, dict):
        raise DataError(f"annotation {ANNOTATION} is no mapping of fields to values")
    for name, value in (own or {}).items():
        if name == _METADATA:
            value = {**(effective.get(_METADATA) or {}), **(value or {})}
        effective[name] = value
    return effective


def format_proxy_config(effective: Mapping[str, Any]) -> str:
    """The value of PROXY_CONFIG."""
    different = {name: value for name, value in effective.items() if DEFAULT_PROXY_CONFIG.get(name) != value}
    return json.dumps(different, separators=(",", ":"), default=str) + "\n"


def build_metadata_environment(effective: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`proxyMetadata` as environment variables, by name."""
    metadata = effective.get(_METADATA) or {}
    return [{"name": name, "value": str(metadata[name])} for name in sorted(metadata)]
