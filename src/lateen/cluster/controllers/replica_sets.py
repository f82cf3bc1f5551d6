"""ReplicaSets: a ReplicaSet and the pods it may own -> pods made or given up, and its status.

Pods are named `<replica set>-<five letters>` by the API server. Source: the Kubernetes page "ReplicaSet" and its
controller; the status counts active pods only, so a pod that is ending is no replica any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lateen.api.apps import ReplicaSet
from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, generation_of, is_terminating, name_of, namespace_of
from lateen.api.pod import Pod
from lateen.cluster.controllers.actions import Action, Create, Delete, LookAgain, Report, Update
from lateen.cluster.controllers.ownership import build_controller, claim, find_candidates
from lateen.cluster.controllers.pod_states import (
    deletion_rank,
    format_time,
    is_active,
    ready_since,
    until_available,
)
from lateen.cluster.controllers.state import POD, REPLICA_SET, State

_MOST_AT_ONCE = 500
_FAILURE = "ReplicaFailure"


def reconcile_replica_set(state: State, namespace: str, name: str, now: datetime) -> list[Action]:
    """What makes the ReplicaSet true."""
    document = state.find(REPLICA_SET, namespace, name)
    replica_set = state.find_view(REPLICA_SET, ReplicaSet, namespace, name)
    if document is None or replica_set is None:
        return []
    claimed = claim(REPLICA_SET, document, POD, find_candidates(state, POD, namespace, document))
    names = [name_of(found) for found in claimed.owned]
    pods = [pod for pod in state.views(POD, Pod, namespace, names) if is_active(pod)]
    actions: list[Action] = list(claimed.actions)
    if not is_terminating(document):
        actions += _resize(document, replica_set, pods)
    status = _build_status(document, replica_set, pods, now)
    if status != (document.get("status") or {}):
        actions.append(Update(REPLICA_SET, {**document, "status": status}, "status"))
    return [*actions, *_look_again(replica_set, pods, now)]


def build_pod(kind: Kind, owner: JsonObject) -> JsonObject:
    """A new pod from the template of a workload, to be named by the API server."""
    template = owner["spec"]["template"]
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {"generateName": f"{name_of(owner)}-", "namespace": namespace_of(owner)}
    metadata |= {part: given[part] for part in ("labels", "annotations", "finalizers") if given.get(part)}
    metadata["ownerReferences"] = [build_controller(kind, owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def report_failure(state: State, namespace: str, name: str, message: str, now: datetime) -> list[Action]:
    """What tells the user that pods of the ReplicaSet could not be made or deleted."""
    document = state.find(REPLICA_SET, namespace, name)
    if document is None:
        return []
    status = document.get("status") or {}
    known = next((found for found in status.get("conditions") or () if found.get("type") == _FAILURE), None)
    if known is not None and known.get("message") == message:
        return []
    condition = {
        "type": _FAILURE,
        "status": "True",
        "lastTransitionTime": format_time(now),
        "reason": "FailedCreate",
        "message": message,
    }
    failed = {**document, "status": {"replicas": 0, **status, "conditions": [condition]}}
    text = f"Error creating: {message}"
    return [
        Update(REPLICA_SET, failed, "status"),
        Report(REPLICA_SET, document, "FailedCreate", text, warning=True),
    ]


def _resize(document: JsonObject, replica_set: ReplicaSet, pods: Sequence[Pod]) -> list[Action]:
    missing = replica_set.spec.replicas - len(pods)
    if missing > 0:
        report = Report(REPLICA_SET, document, "SuccessfulCreate", "Created pod: {name}")
        return [Create(POD, build_pod(REPLICA_SET, document), report)] * min(missing, _MOST_AT_ONCE)
    surplus = sorted(pods, key=deletion_rank)[: -missing or None] if missing else []
    actions: list[Action] = []
    for pod in surplus:
        metadata = pod.metadata
        actions.append(Delete(POD, metadata.namespace, metadata.name, metadata.uid))
        text = f"Deleted pod: {metadata.name}"
        actions.append(Report(REPLICA_SET, document, "SuccessfulDelete", text))
    return actions


def _build_status(document: JsonObject, replica_set: ReplicaSet, pods: Sequence[Pod], now: datetime) -> JsonObject:
    wanted = replica_set.spec.template.metadata.labels.items()
    waits = [until_available(pod, _min_ready(replica_set), now) for pod in pods]
    counts = {
        "fullyLabeledReplicas": sum(wanted <= pod.metadata.labels.items() for pod in pods),
        "readyReplicas": sum(ready_since(pod) is not None for pod in pods),
        "availableReplicas": sum(wait == timedelta(0) for wait in waits),
    }
    status = {"replicas": len(pods), **{name: count for name, count in counts.items() if count}}
    status["observedGeneration"] = generation_of(document)
    conditions = (document.get("status") or {}).get("conditions") or []
    if len(pods) < replica_set.spec.replicas and conditions:
        return {**status, "conditions": conditions}
    return status


def _look_again(replica_set: ReplicaSet, pods: Sequence[Pod], now: datetime) -> list[Action]:
    waits = [until_available(pod, _min_ready(replica_set), now) for pod in pods]
    pending = [wait for wait in waits if wait]
    return [LookAgain(min(pending))] if pending else []


def _min_ready(replica_set: ReplicaSet) -> timedelta:
    return timedelta(seconds=replica_set.spec.min_ready_seconds)
