"""Prometheus' annotations of an injected pod: they name the agent, which adds the app's metrics to Envoy's.

Flow: annotations -> annotations with 15020 and `/stats/prometheus`, and the app's own target for the agent
(ISTIO_PROMETHEUS_ANNOTATIONS). A pod that says `scrape: false` stays unscraped. Source: Istio's page "Prometheus,
option 1: metrics merging"; `pkg/kube/inject`, applyPrometheusMerge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from lateen.inject.settings import InjectionSettings

MERGE = "prometheus.istio.io/merge-metrics"
TARGETS = "prometheus.istio.io/scrape-targets"
VARIABLE = "ISTIO_PROMETHEUS_ANNOTATIONS"
_SPELLINGS = ("prometheus.io/{}", "prometheus.io.{}", "prometheus-io/{}")
_NAMES = ("scrape", "path", "port")


def merge_annotations(
    annotations: Mapping[str, str], settings: InjectionSettings, status_port: int
) -> tuple[dict[str, str], str]:
    """The annotations, and the value of ISTIO_PROMETHEUS_ANNOTATIONS (empty when the app says nothing)."""
    own = {name: _find(annotations, name) for name in _NAMES}
    wanted = annotations.get(MERGE, "").lower() != "false" and settings.prometheus_merge
    if not wanted or own["scrape"] == "false" or own["port"] == str(status_port):
        return dict(annotations), ""
    spellings = {TARGETS, *(spelling.format(name) for spelling in _SPELLINGS for name in _NAMES)}
    merged = {name: value for name, value in annotations.items() if name not in spellings}
    merged |= {
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/port": str(status_port),
    }
    targets = _parse_targets(annotations.get(TARGETS, ""))
    if not any(own.values()) and not targets:
        return merged, ""
    first = targets[0] if targets else {}
    described: dict[str, object] = {
        "scrape": own["scrape"],
        "path": own["path"] or first.get("path", ""),
        "port": own["port"] or first.get("port", ""),
    }
    if targets:
        described["targets"] = targets
    return merged, json.dumps(described, separators=(",", ":"))


def _find(annotations: Mapping[str, str], name: str) -> str:
    return next((annotations[key] for one in _SPELLINGS if (key := one.format(name)) in annotations), "")


def _parse_targets(text: str) -> list[dict[str, str]]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [{"port": part.partition(":")[0], "path": part.partition(":")[2] or "/metrics"} for part in parts]
