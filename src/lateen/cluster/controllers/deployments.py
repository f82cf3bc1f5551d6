"""Deployments: a Deployment and its ReplicaSets -> the ReplicaSet of its template, sizes, revisions, status.

One pass makes the missing ReplicaSet or decides one step of sizes (rollout.py), and writes the status; what the
ReplicaSets then report leads to the next. Revisions are annotations, as `kubectl rollout history` and `undo` read
them: the ReplicaSet of the present template has the highest. Source: the Kubernetes page "Deployments" and its
controller (pkg/controller/deployment).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lateen.api.apps import Deployment, ReplicaSet
from lateen.api.objects import JsonObject, annotations_of, is_terminating, labels_of, name_of, namespace_of
from lateen.cluster.controllers.actions import Action, Create, Delete, LookAgain, Report, Update
from lateen.cluster.controllers.deployment_status import Step, build_status, is_complete, until_deadline
from lateen.cluster.controllers.ownership import build_controller, claim, find_candidates, selector_of
from lateen.cluster.controllers.pod_template import HASH_LABEL, equal_templates, hash_template, label_template
from lateen.cluster.controllers.rollout import (
    DESIRED,
    MAXIMUM,
    Sizes,
    find_first_size,
    find_surge,
    plan_sizes,
)
from lateen.cluster.controllers.state import CONTROLLED_BY, DEPLOYMENT, POD, REPLICA_SET, State

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_OWN_ANNOTATIONS = frozenset({REVISION, REVISION_HISTORY, DESIRED, MAXIMUM, LAST_APPLIED})


@dataclass(frozen=True)
class Owned:
    """A ReplicaSet, as document and view."""

    document: JsonObject
    view: ReplicaSet

    @property
    def name(self) -> str:
        """Its name."""
        return name_of(self.document)

    @property
    def revision(self) -> int:
        """The revision that it stands for, 0 without one."""
        return parse_revision(self.document)


def reconcile_deployment(state: State, namespace: str, name: str, now: datetime) -> list[Action]:
    """What makes the Deployment true."""
    document = state.find(DEPLOYMENT, namespace, name)
    deployment = state.find_view(DEPLOYMENT, Deployment, namespace, name)
    if document is None or deployment is None:
        return []
    claimed = claim(DEPLOYMENT, document, REPLICA_SET, find_candidates(state, REPLICA_SET, namespace, document))
    if claimed.actions:  # the ReplicaSets are to be read anew afterwards
        return claimed.actions
    owned = sorted(filter(None, (_view(state, found) for found in claimed.owned)), key=_age)
    template = document["spec"]["template"]
    new = next((one for one in owned if equal_templates(one.document["spec"]["template"], template)), None)
    old = [one for one in owned if one is not new]
    pass_ = _Pass(document, deployment, new, old, now)
    if is_terminating(document):
        return pass_.finish({}, None)
    left = any(_has_pods(state, one) for one in old)
    if new is None and _may_create(deployment, old, pods_left=left):
        return pass_.create(state)
    sizes = plan_sizes(deployment, new.view if new else None, [one.view for one in old], old_pods_left=left)
    actions = pass_.update(sizes)
    return [*actions, *pass_.finish(sizes, None), *([] if actions else pass_.clean_up())]


def parse_revision(document: JsonObject) -> int:
    """The revision in the annotations of a Deployment or ReplicaSet, 0 without one."""
    text = annotations_of(document).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def _view(state: State, document: JsonObject) -> Owned | None:
    view = state.find_view(REPLICA_SET, ReplicaSet, namespace_of(document), name_of(document))
    return None if view is None else Owned(document, view)


def _age(one: Owned) -> tuple[str, str]:
    return one.view.metadata.creation_timestamp or "", one.name


def _has_pods(state: State, one: Owned) -> bool:
    """Whether pods of a ReplicaSet still run, or end."""
    metadata = one.view.metadata
    names = state.find_names(POD, metadata.namespace, [(CONTROLLED_BY, metadata.uid)])
    pods = (state.find(POD, metadata.namespace, name) or {} for name in names)
    return any((pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") for pod in pods)


def _may_create(deployment: Deployment, old: Sequence[Owned], *, pods_left: bool) -> bool:
    if deployment.spec.paused:
        return False
    active = any(one.view.spec.replicas for one in old)
    return deployment.spec.strategy.type != "Recreate" or not (active or pods_left)


@dataclass(frozen=True)
class _Pass:
    document: JsonObject
    deployment: Deployment
    new: Owned | None
    old: Sequence[Owned]
    now: datetime

    @property
    def _revision(self) -> int:
        """The revision of the present template."""
        following = max((one.revision for one in self.old), default=0) + 1
        return max(following, self.new.revision if self.new is not None else 0)

    def create(self, state: State) -> list[Action]:
        """Make the ReplicaSet of the present template."""
        namespace, template = namespace_of(self.document), self.document["spec"]["template"]
        collisions = (self.document.get("status") or {}).get("collisionCount") or 0
        found_hash = hash_template(template, collisions)
        name = f"{name_of(self.document)}-{found_hash}"
        if state.find(REPLICA_SET, namespace, name) is not None:
            status = {**(self.document.get("status") or {}), "collisionCount": collisions + 1}
            return [Update(DEPLOYMENT, {**self.document, "status": status}, "status")]
        size = find_first_size(self.deployment, [one.view for one in self.old])
        text = f"Scaled up replica set {name} from 0 to {size}"
        report = Report(DEPLOYMENT, self.document, "ScalingReplicaSet", text) if size else None
        create = Create(REPLICA_SET, self._build_replica_set(name, found_hash, size), report)
        step = Step("NewReplicaSetCreated", f'Created new replica set "{name}"')
        return [create, *self.finish({}, step)]

    def _build_replica_set(self, name: str, found_hash: str, size: int) -> JsonObject:
        spec = self.document["spec"]
        template = label_template(spec["template"], found_hash)
        selector = selector_of(self.document)
        labels = {**(selector.get("matchLabels") or {}), HASH_LABEL: found_hash}
        metadata = {
            "name": name,
            "namespace": namespace_of(self.document),
            "labels": dict(labels_of(template)),
            "annotations": self._annotate({}, self._revision) | self._sizes(),
            "ownerReferences": [build_controller(DEPLOYMENT, self.document)],
        }
        wanted: dict[str, Any] = {"replicas": size, "selector": {**selector, "matchLabels": labels}}
        if spec.get("minReadySeconds"):
            wanted["minReadySeconds"] = spec["minReadySeconds"]
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": metadata,
            "spec": {**wanted, "template": template},
        }

    def update(self, sizes: Sizes) -> list[Action]:
        """Write sizes and annotations where they differ."""
        actions: list[Action] = []
        for one in [*self.old, *([self.new] if self.new is not None else [])]:
            before, spec = one.view.spec.replicas, one.document["spec"]
            annotations = dict(annotations_of(one.document))
            wanted = {**spec, "replicas": sizes.get(one.name, before)}
            if one.name in sizes:
                annotations |= self._sizes()
            if one is self.new:
                annotations = self._annotate(annotations, self._revision)
                wanted["minReadySeconds"] = self.deployment.spec.min_ready_seconds
                if not wanted["minReadySeconds"]:
                    del wanted["minReadySeconds"]
            if wanted == spec and annotations == annotations_of(one.document):
                continue
            metadata = {**one.document["metadata"], "annotations": annotations}
            actions.append(Update(REPLICA_SET, {**one.document, "metadata": metadata, "spec": wanted}))
            if wanted["replicas"] != before:
                actions.append(self._tell(one.name, before, wanted["replicas"]))
        return actions

    def _tell(self, name: str, before: int, after: int) -> Report:
        direction = "up" if after > before else "down"
        text = f"Scaled {direction} replica set {name} from {before} to {after}"
        return Report(DEPLOYMENT, self.document, "ScalingReplicaSet", text)

    def _sizes(self) -> dict[str, str]:
        replicas = self.deployment.spec.replicas
        return {DESIRED: str(replicas), MAXIMUM: str(replicas + find_surge(self.deployment))}

    def _annotate(self, annotations: dict[str, str], revision: int) -> dict[str, str]:
        """A ReplicaSet's annotations with those of the Deployment and the revision."""
        own = annotations_of(self.document).items()
        result = annotations | {name: value for name, value in own if name not in _OWN_ANNOTATIONS}
        before = result.get(REVISION, "")
        if before != str(revision):
            result[REVISION] = str(revision)
            if before:
                result[REVISION_HISTORY] = ",".join(filter(None, (result.get(REVISION_HISTORY), before)))
        return result

    def finish(self, sizes: Sizes, step: Step | None) -> list[Action]:
        """Write status and revision of the Deployment where they differ, and look again at the deadline."""
        new = self.new.view if self.new is not None else None
        if step is None and new is not None and not self.deployment.status.conditions:
            step = Step("FoundNewReplicaSet", f'Found new replica set "{new.metadata.name}"')
        old = [one.view for one in self.old]
        status = build_status(self.document, self.deployment, new, old, sizes=sizes, step=step, now=self.now)
        annotations = dict(annotations_of(self.document))
        if self.new is not None or step is not None:
            annotations[REVISION] = str(self._revision)
        actions: list[Action] = []
        if status != (self.document.get("status") or {}) or annotations != annotations_of(self.document):
            metadata = {**self.document["metadata"], "annotations": annotations}
            actions.append(Update(DEPLOYMENT, {**self.document, "metadata": metadata, "status": status}, "status"))
        wait = until_deadline(self.deployment, status, self.now)
        return [*actions, *([LookAgain(wait)] if wait is not None else [])]

    def clean_up(self) -> list[Action]:
        """Delete the oldest ReplicaSets beyond the history that is kept, when the rollout is over."""
        if not is_complete(self.deployment, self.document.get("status") or {}):
            return []
        empty = [
            one
            for one in self.old
            if not (one.view.spec.replicas or one.view.status.replicas or is_terminating(one.document))
            and one.view.metadata.generation <= one.view.status.observed_generation
        ]
        surplus = len(empty) - self.deployment.spec.revision_history_limit
        oldest = sorted(empty, key=lambda one: one.revision)[: max(surplus, 0)]
        return [Delete(REPLICA_SET, one.view.metadata.namespace, one.name, one.view.metadata.uid) for one in oldest]
