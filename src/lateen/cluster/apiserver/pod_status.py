"""The status that a new pod begins with: phase Pending and its quality-of-service class.

Source: the Kubernetes page "Pod Quality of Service Classes": Guaranteed if every container limits cpu and
memory and requests the same, BestEffort if none asks for either, otherwise Burstable.
"""

from __future__ import annotations

from typing import Any

_COUNTED = ("cpu", "memory")


def build_pod_status(pod: dict[str, Any]) -> dict[str, Any]:
    """The first status of a pod."""
    return {"phase": "Pending", "qosClass": find_qos_class(pod)}


def find_qos_class(pod: dict[str, Any]) -> str:
    """The quality-of-service class of a pod."""
    spec = pod.get("spec") or {}
    containers = [
        container
        for field in ("containers", "initContainers")
        for container in spec.get(field) or ()
        if isinstance(container, dict)
    ]
    asked = [_counted(container, "requests") for container in containers]
    limited = [_counted(container, "limits") for container in containers]
    if not any(asked) and not any(limited):
        return "BestEffort"
    guaranteed = all(
        len(limits) == len(_COUNTED) and (not requests or requests == limits)
        for requests, limits in zip(asked, limited, strict=True)
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _counted(container: dict[str, Any], field: str) -> dict[str, str]:
    amounts = (container.get("resources") or {}).get(field) or {}
    return {name: str(amounts[name]) for name in _COUNTED if str(amounts.get(name, "0")) != "0"}
