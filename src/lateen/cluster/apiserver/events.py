"""The two APIs for events over one storage: `v1` (stored) <-> `events.k8s.io/v1`.

Only names differ: what is `involvedObject`, `message`, `source` in core is `regarding`, `note`,
`deprecatedSource` in the newer group. Source: the conversion in Kubernetes' `pkg/apis/events/v1`.
"""

from __future__ import annotations

from typing import Any

_FROM_CORE = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_TO_CORE = {new: old for old, new in _FROM_CORE.items()}


def convert_from_core(document: dict[str, Any]) -> dict[str, Any]:
    """A core event as `events.k8s.io/v1` shows it."""
    return _rename(document, _FROM_CORE) | {"apiVersion": "events.k8s.io/v1"}


def convert_to_core(document: dict[str, Any]) -> dict[str, Any]:
    """An event of `events.k8s.io/v1` as it is stored."""
    return _rename(document, _TO_CORE) | {"apiVersion": "v1"}


def _rename(document: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in document.items()}
