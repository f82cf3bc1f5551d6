"""How the pods of a workload stand: (pod, present) -> active, ready, available, and which goes first.

Source: Kubernetes' page "ReplicaSet", section "Scaling a ReplicaSet", and its pod utilities. Where we differ: pods that
share a node are not spread, since there is one node, and ages are compared to the second rather than by magnitude.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lateen.api.pod import Pod

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASES = {"Pending": 0, "Unknown": 1}
_LATEST = datetime.max.replace(tzinfo=UTC)


def parse_time(text: str | None) -> datetime | None:
    """A time stamp of the API."""
    return datetime.fromisoformat(text) if text else None


def format_time(moment: datetime) -> str:
    """A moment as the API writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_finished(pod: Pod) -> bool:
    """Whether the pod ran to its end."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    """Whether the pod counts as a replica: it neither ended nor is about to."""
    return not is_finished(pod) and pod.metadata.deletion_timestamp is None


def ready_since(pod: Pod) -> datetime | None:
    """Since when the pod is ready, None when it is not."""
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True":
            return parse_time(condition.last_transition_time) or datetime.min.replace(tzinfo=UTC)
    return None


def until_available(pod: Pod, min_ready: timedelta, now: datetime) -> timedelta | None:
    """How long until the pod counts as available if it stays ready: 0 when it does, None when it is not ready."""
    since = ready_since(pod)
    if since is None:
        return None
    return max(min_ready - (now - since), timedelta(0)) if min_ready else timedelta(0)


def deletion_rank(pod: Pod) -> tuple[Any, ...]:
    """The order in which a workload that shrinks gives up pods, first to go first."""
    since = ready_since(pod)
    restarts = max((status.restart_count for status in pod.status.container_statuses), default=0)
    created = parse_time(pod.metadata.creation_timestamp) or _LATEST
    return (
        bool(pod.spec.node_name),
        _PHASES.get(pod.status.phase, 2),
        since is not None,
        _deletion_cost(pod),
        -(since or _LATEST).timestamp() if since is not None and since.year > 1 else 0.0,
        -restarts,
        -created.timestamp(),
        pod.metadata.name,
    )


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0
