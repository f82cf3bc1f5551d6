"""The status of a Deployment: (Deployment, its ReplicaSets, present) -> counts and conditions.

`Available` says whether enough replicas serve, `Progressing` whether the last change got on within
`progressDeadlineSeconds`: these two, `observedGeneration` and the counts are what `kubectl rollout status` reads.
Source: the Kubernetes page "Deployments", section "Deployment status", and its controller's progress.go and sync.go,
whose reasons and messages are kept to the letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lateen.api.apps import Deployment, ReplicaSet, WorkloadStatus
from lateen.api.objects import JsonObject, generation_of
from lateen.cluster.controllers.pod_states import format_time, parse_time
from lateen.cluster.controllers.rollout import Sizes, find_unavailable

PROGRESSING, AVAILABLE, FAILURE = "Progressing", "Available", "ReplicaFailure"
COMPLETE, TIMED_OUT, PAUSED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"
_NO_DEADLINE = 2**31 - 1

Conditions = dict[str, dict[str, Any]]


class Step(NamedTuple):
    """What a reconcile just did that the condition Progressing should say: reason and message."""

    reason: str
    message: str


def build_status(
    document: JsonObject,
    deployment: Deployment,
    new: ReplicaSet | None,
    old: Sequence[ReplicaSet],
    *,
    sizes: Sizes,
    step: Step | None,
    now: datetime,
) -> JsonObject:
    """The status as it should be; equal to the present one when there is nothing to write."""
    stored: JsonObject = document.get("status") or {}
    status = _count(document, new, old, sizes)
    if stored.get("collisionCount"):
        status["collisionCount"] = stored["collisionCount"]
    conditions: Conditions = {found["type"]: found for found in stored.get("conditions") or ()}
    _put(conditions, _build_available(deployment, status), now)
    _progress(conditions, deployment, new, status, step, now)
    _copy_failure(conditions, deployment, new, old, now)
    if conditions:
        status["conditions"] = list(conditions.values())
    return status


def until_deadline(deployment: Deployment, status: JsonObject, now: datetime) -> timedelta | None:
    """When to look whether the deployment got stuck; None when it cannot."""
    if not _has_deadline(deployment) or deployment.spec.paused:
        return None
    for condition in status.get("conditions") or ():
        updated = parse_time(condition.get("lastUpdateTime"))
        if condition["type"] == PROGRESSING and condition["reason"] not in (COMPLETE, TIMED_OUT) and updated:
            wait = updated + timedelta(seconds=deployment.spec.progress_deadline_seconds + 1) - now
            return max(wait, timedelta(seconds=1))
    return None


def is_complete(deployment: Deployment, status: JsonObject) -> bool:
    """Whether all replicas are new and available, and none is old."""
    wanted = deployment.spec.replicas
    counts = (status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas"))
    return all(count == wanted for count in counts)


def _count(document: JsonObject, new: ReplicaSet | None, old: Sequence[ReplicaSet], sizes: Sizes) -> JsonObject:
    everything = [*old, *([new] if new is not None else [])]
    wanted = sum(sizes.get(one.metadata.name, one.spec.replicas) for one in everything)
    available = sum(one.status.available_replicas for one in everything)
    counts = {
        "replicas": sum(one.status.replicas for one in everything),
        "updatedReplicas": new.status.replicas if new is not None else 0,
        "readyReplicas": sum(one.status.ready_replicas for one in everything),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
    }
    status: JsonObject = {"observedGeneration": generation_of(document)}
    return status | {name: count for name, count in counts.items() if count}


def _build_available(deployment: Deployment, status: JsonObject) -> dict[str, str]:
    enough = status.get("availableReplicas", 0) >= deployment.spec.replicas - find_unavailable(deployment)
    have, word = ("has", "Available") if enough else ("does not have", "Unavailable")
    return {
        "type": AVAILABLE,
        "status": str(enough),
        "reason": f"MinimumReplicas{word}",
        "message": f"Deployment {have} minimum availability.",
    }


def _progress(
    conditions: Conditions,
    deployment: Deployment,
    new: ReplicaSet | None,
    status: JsonObject,
    step: Step | None,
    now: datetime,
) -> None:
    if not _has_deadline(deployment):
        conditions.pop(PROGRESSING, None)
        return
    present = conditions.get(PROGRESSING)
    reason = (present or {}).get("reason")
    if deployment.spec.paused:
        if reason != TIMED_OUT:
            _put(conditions, _say("Unknown", PAUSED, "Deployment is paused"), now)
        return
    if reason == PAUSED:
        _put(conditions, _say("Unknown", "DeploymentResumed", "Deployment is resumed"), now)
    if step is not None:
        _put(conditions, _say("True", *step), now)
        return
    if reason == COMPLETE and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        return
    subject = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, status):
        _put(conditions, _say("True", COMPLETE, f"{subject} has successfully progressed."), now)
    elif _has_progressed(deployment.status, status):
        _put(conditions, _say("True", "ReplicaSetUpdated", f"{subject} is progressing."), now, renew=True)
    elif _is_timed_out(deployment, present, now):
        _put(conditions, _say("False", TIMED_OUT, f"{subject} has timed out progressing."), now)


def _has_deadline(deployment: Deployment) -> bool:
    return deployment.spec.progress_deadline_seconds != _NO_DEADLINE


def _say(status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": PROGRESSING, "status": status, "reason": reason, "message": message}


def _has_progressed(before: WorkloadStatus, status: JsonObject) -> bool:
    updated = status.get("updatedReplicas", 0)
    return bool(
        updated > before.updated_replicas
        or status.get("replicas", 0) - updated < before.replicas - before.updated_replicas
        or status.get("readyReplicas", 0) > before.ready_replicas
        or status.get("availableReplicas", 0) > before.available_replicas
    )


def _is_timed_out(deployment: Deployment, present: dict[str, Any] | None, now: datetime) -> bool:
    if present is None or present["reason"] == COMPLETE:
        return False
    updated = parse_time(present.get("lastUpdateTime"))
    deadline = timedelta(seconds=deployment.spec.progress_deadline_seconds)
    return present["reason"] == TIMED_OUT or (updated is not None and updated + deadline < now)


def _copy_failure(
    conditions: Conditions, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], now: datetime
) -> None:
    for one in [*([new] if new is not None else []), *old]:
        for found in one.status.conditions:
            if found.type == FAILURE and found.status == "True":
                said = {"type": FAILURE, "status": "True", "reason": found.reason, "message": found.message}
                _put(conditions, said, now)
                return
    conditions.pop(FAILURE, None)


def _put(conditions: Conditions, condition: dict[str, str], now: datetime, *, renew: bool = False) -> None:
    """Set a condition; one that says the same for the same reason stays as it is, unless `renew`."""
    present = conditions.get(condition["type"]) or {}
    same_status = present.get("status") == condition["status"]
    if same_status and present.get("reason") == condition["reason"] and not renew:
        return
    moment = format_time(now)
    since = present.get("lastTransitionTime", moment) if same_status else moment
    conditions[condition["type"]] = {**condition, "lastUpdateTime": moment, "lastTransitionTime": since}
