"""How rollouts go on, as tables: (Deployment, ReplicaSets, pods) -> sizes, conditions, deletions; no API server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lateen.api.apps import Deployment, ReplicaSet
from lateen.api.codec import decode
from lateen.api.core import OwnerReference
from lateen.api.objects import JsonObject
from lateen.api.pod import Pod
from lateen.cluster.controllers.actions import Create, Delete, LookAgain, Patch, Update
from lateen.cluster.controllers.deployment_status import build_status
from lateen.cluster.controllers.deployments import reconcile_deployment
from lateen.cluster.controllers.garbage import Item, Judged, Metadata, reconcile_dependant, reconcile_ending
from lateen.cluster.controllers.jobs import reconcile_job
from lateen.cluster.controllers.pod_states import deletion_rank
from lateen.cluster.controllers.pod_template import equal_templates, hash_template, label_template
from lateen.cluster.controllers.replica_sets import reconcile_replica_set
from lateen.cluster.controllers.rollout import DESIRED, MAXIMUM, find_first_size, plan_sizes
from lateen.cluster.controllers.state import CONFIG_MAP, DEPLOYMENT, JOB, POD, REPLICA_SET, State
from lateen.cluster.revisions import Key

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}


def deployment_document(replicas: int = 4, strategy: str = "RollingUpdate", **spec: Any) -> JsonObject:
    rolling = {"maxSurge": spec.pop("surge", "25%"), "maxUnavailable": spec.pop("unavailable", "25%")}
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": TEMPLATE,
            "strategy": {"type": strategy, **({"rollingUpdate": rolling} if strategy == "RollingUpdate" else {})},
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


def build_deployment(*args: Any, **parts: Any) -> Deployment:
    found = decode(deployment_document(*args, **parts), Deployment).value
    assert found is not None
    return found


def build_replica_set(name: str, replicas: int, available: int, desired: int = 4, most: int = 5) -> ReplicaSet:
    document = {
        "metadata": {"name": name, "annotations": {DESIRED: str(desired), MAXIMUM: str(most)}},
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available},
    }
    found = decode(document, ReplicaSet).value
    assert found is not None
    return found


ROLLING = [
    # replicas, surge, unavailable, new (size, available), old (size, available) -> sizes
    (4, "25%", "25%", (0, 0), (4, 4), {"new": 1}),
    (4, "25%", "25%", (1, 0), (4, 4), {"old": 3}),
    (4, "25%", "25%", (2, 0), (3, 3), {}),
    (4, "25%", "25%", (2, 2), (3, 3), {"old": 1}),
    (4, "25%", "25%", (4, 4), (1, 1), {"old": 0}),
    (4, "25%", "25%", (4, 4), (0, 0), {}),
    (4, 0, 1, (0, 0), (4, 4), {"old": 3}),
    (4, 1, 0, (0, 0), (4, 4), {"new": 1}),
    (4, 1, 0, (1, 0), (4, 4), {}),
    (4, 1, 0, (1, 1), (4, 4), {"old": 3}),
    (1, "25%", "25%", (1, 0), (1, 1), {}),
    (4, "25%", "25%", (1, 0), (4, 1), {"old": 3}),
    (4, "25%", "25%", (2, 0), (3, 1), {}),
    (4, "100%", "0%", (0, 0), (4, 4), {"new": 4}),
    (0, "25%", "25%", (0, 0), (0, 0), {}),
]


@pytest.mark.parametrize(("replicas", "surge", "unavailable", "new", "old", "sizes"), ROLLING)
def test_a_rolling_update_goes_step_by_step(
    replicas: int, surge: Any, unavailable: Any, new: Any, old: Any, sizes: dict[str, int]
) -> None:
    deployment = build_deployment(replicas, surge=surge, unavailable=unavailable)
    sets = [build_replica_set(name, *counts, desired=replicas) for name, counts in (("new", new), ("old", old))]
    assert plan_sizes(deployment, sets[0], sets[1:], old_pods_left=True) == sizes


@pytest.mark.parametrize("surge", ["0%", "10%", "25%", "100%", 3])
@pytest.mark.parametrize("unavailable", ["0%", "10%", "25%", "100%", 2])
@pytest.mark.parametrize("replicas", [1, 2, 3, 5, 10])
def test_every_rollout_ends_and_keeps_its_bounds(replicas: int, surge: Any, unavailable: Any) -> None:
    deployment = build_deployment(replicas, surge=surge, unavailable=unavailable)
    most = replicas + (surge if isinstance(surge, int) else -(-replicas * int(surge[:-1]) // 100))
    missing = unavailable if isinstance(unavailable, int) else replicas * int(unavailable[:-1]) // 100
    if most == replicas and not missing:
        missing = 1
    sizes = {"old": replicas, "new": 0}
    for _ in range(4 * replicas + 4):
        sets = {name: build_replica_set(name, size, size, replicas, most) for name, size in sizes.items()}
        step = plan_sizes(deployment, sets["new"], [sets["old"]], old_pods_left=True)
        sizes |= step
        assert sum(sizes.values()) <= most
        grown = sizes["new"] - sets["new"].spec.replicas
        assert sum(sizes.values()) - max(grown, 0) >= replicas - missing
        if not step:
            break
    assert sizes == {"old": 0, "new": replicas}


def test_a_change_of_scale_is_shared_in_proportion() -> None:
    sets = [build_replica_set("old", 8, 8, 10, 13), build_replica_set("new", 5, 5, 10, 13)]
    deployment = build_deployment(20, surge=6, unavailable=0)
    assert plan_sizes(deployment, sets[1], sets[:1], old_pods_left=True) == {"old": 16, "new": 10}
    assert plan_sizes(build_deployment(0), sets[1], sets[:1], old_pods_left=True) == {"old": 0, "new": 0}


def test_paused_deployments_scale_and_do_nothing_else() -> None:
    old = build_replica_set("old", 4, 4)
    assert plan_sizes(build_deployment(2, paused=True), None, [old], old_pods_left=True) == {"old": 2}
    state = build_state((DEPLOYMENT, deployment_document(paused=True)))
    actions = reconcile_deployment(state, "shop", "web", NOW)
    assert [type(action) for action in actions] == [Update]


@pytest.mark.parametrize(
    ("old", "left", "sizes"),
    [((3, 3), True, {"old": 0}), ((0, 0), True, {}), ((0, 0), False, {"new": 4})],
    ids=["old ones go", "their pods end", "all at once"],
)
def test_recreate_waits_for_the_last_old_pod(old: Any, left: bool, sizes: dict[str, int]) -> None:
    sets = [build_replica_set("old", *old), build_replica_set("new", 0, 0)]
    deployment = build_deployment(4, "Recreate")
    assert plan_sizes(deployment, sets[1], sets[:1], old_pods_left=left) == sizes
    assert find_first_size(deployment, []) == 4


def build_state(*documents: tuple[Any, JsonObject]) -> State:
    state = State()
    for kind, document in documents:
        state.put(kind, document)
    return state


def test_a_new_template_makes_a_replica_set_named_by_its_hash() -> None:
    state = build_state((DEPLOYMENT, deployment_document()))
    create, update, wait = reconcile_deployment(state, "shop", "web", NOW)
    assert isinstance(create, Create)
    found_hash = hash_template(TEMPLATE, 0)
    assert create.document["metadata"]["name"] == f"web-{found_hash}"
    assert create.document["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": found_hash}
    assert create.document["spec"]["replicas"] == 4
    assert equal_templates(create.document["spec"]["template"], TEMPLATE)
    assert isinstance(update, Update)
    assert update.document["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
    assert [one["reason"] for one in update.document["status"]["conditions"]] == [
        "MinimumReplicasUnavailable",
        "NewReplicaSetCreated",
    ]
    assert wait == LookAgain(timedelta(seconds=601))


def test_a_hash_that_is_taken_is_counted_and_another_tried() -> None:
    taken = {"metadata": {"name": f"web-{hash_template(TEMPLATE, 0)}", "namespace": "shop", "uid": "x"}}
    state = build_state((DEPLOYMENT, deployment_document()), (REPLICA_SET, taken))
    (update,) = reconcile_deployment(state, "shop", "web", NOW)
    assert isinstance(update, Update)
    assert update.document["status"] == {"collisionCount": 1}
    assert hash_template(TEMPLATE, 0) != hash_template(TEMPLATE, 1)
    assert hash_template(label_template(TEMPLATE, "abc"), 0) == hash_template(TEMPLATE, 0)


def test_a_status_that_is_true_is_not_written_again() -> None:
    document = deployment_document()
    new = build_replica_set("new", 4, 4)
    for _ in range(2):
        deployment = decode(document, Deployment).value
        assert deployment is not None
        status = build_status(document, deployment, new, [], sizes={}, step=None, now=NOW)
        document = {**document, "status": status}
    assert status == document["status"]
    assert {one["type"]: one["reason"] for one in status["conditions"]} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }


def pod_document(name: str, *, ready: bool = True, minutes: int = 10, **parts: Any) -> JsonObject:
    since = (NOW - timedelta(minutes=minutes)).isoformat()
    ready_condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": {"app": "web"},
            "creationTimestamp": since,
            "ownerReferences": [{"uid": "r", "kind": "ReplicaSet", "name": "web", "controller": True}],
            **parts.get("metadata", {}),
        },
        "spec": {"nodeName": "lateen", **parts.get("spec", {})},
        "status": {"phase": "Running", "conditions": [ready_condition], **parts.get("status", {})},
    }


def test_pods_are_given_up_in_kubernetes_order() -> None:
    restarted = {"status": {"containerStatuses": [{"restartCount": 3}], "phase": "Running"}}
    in_order = [
        pod_document("unassigned", spec={"nodeName": ""}),
        pod_document("pending", status={"phase": "Pending"}),
        pod_document("restarted", status=restarted["status"] | {"conditions": []}),
        pod_document("not-ready", ready=False),
        pod_document("cheap", metadata={"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}),
        pod_document("young", minutes=1),
        pod_document("old", minutes=60),
    ]
    pods = [pod for document in reversed(in_order) if (pod := decode(document, Pod).value) is not None]
    names = [pod.metadata.name for pod in sorted(pods, key=deletion_rank)]
    assert names == [document["metadata"]["name"] for document in in_order]


def replica_set_document(replicas: int, **spec: Any) -> JsonObject:
    selector = {"matchLabels": {"app": "web"}}
    metadata = {"name": "web", "namespace": "shop", "uid": "r", "generation": 1}
    return {"metadata": metadata, "spec": {"replicas": replicas, "selector": selector, "template": TEMPLATE, **spec}}


@pytest.mark.parametrize(("replicas", "made", "deleted"), [(3, 2, []), (1, 0, []), (0, 0, ["a"])])
def test_a_replica_set_has_as_many_pods_as_it_should(replicas: int, made: int, deleted: list[str]) -> None:
    ending = pod_document("b", metadata={"deletionTimestamp": NOW.isoformat()})
    pods = ((POD, pod_document("a")), (POD, ending))
    state = build_state((REPLICA_SET, replica_set_document(replicas)), *pods)
    actions = reconcile_replica_set(state, "shop", "web", NOW)
    assert sum(isinstance(action, Create) for action in actions) == made
    assert [action.name for action in actions if isinstance(action, Delete)] == deleted
    (update,) = [action for action in actions if isinstance(action, Update)]
    counts = {"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    assert update.document["status"] == {**counts, "observedGeneration": 1}


def test_a_ready_pod_is_available_only_after_its_time() -> None:
    state = build_state((REPLICA_SET, replica_set_document(1, minReadySeconds=90)), (POD, pod_document("a", minutes=1)))
    update, wait = reconcile_replica_set(state, "shop", "web", NOW)
    assert isinstance(update, Update)
    assert "availableReplicas" not in update.document["status"]
    assert wait == LookAgain(timedelta(seconds=30))


def test_a_failed_pod_of_a_job_is_replaced_after_a_while() -> None:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE, "completions": 1, "backoffLimit": 6}
    job = {"metadata": {"name": "work", "namespace": "shop", "uid": "j"}, "spec": spec}
    owner = {"ownerReferences": [{"uid": "j", "kind": "Job", "name": "work", "controller": True}]}
    ended = {"terminated": {"finishedAt": (NOW - timedelta(seconds=4)).isoformat()}}
    status = {"phase": "Failed", "containerStatuses": [{"name": "a", "state": ended}]}
    state = build_state((JOB, job), (POD, pod_document("a", metadata=owner, status=status)))
    actions = reconcile_job(state, "shop", "work", NOW)
    assert actions[0] == LookAgain(timedelta(seconds=6))
    later = reconcile_job(state, "shop", "work", NOW + timedelta(seconds=6))
    assert isinstance(later[0], Create)


def item(name: str = "x", *, finalizers: tuple[str, ...] = (), ending: bool = False, owners: Any = ()) -> Item:
    metadata = Metadata(
        uid=name,
        resource_version="7",
        deletion_timestamp=NOW.isoformat() if ending else None,
        finalizers=finalizers,
        owner_references=tuple(OwnerReference(uid=uid, block_owner_deletion=True) for uid in owners),
    )
    return Item(Key("configmaps", "shop", name), CONFIG_MAP, metadata)


LIVING = Judged(OwnerReference(uid="a"), item("a"))
WAITING = Judged(OwnerReference(uid="w"), item("w", ending=True, finalizers=("foregroundDeletion",)))
GONE = Judged(OwnerReference(uid="g"), None)
UNKNOWN = Judged(OwnerReference(uid="u"), None, known=False)


@pytest.mark.parametrize(
    ("owners", "owning", "finalizers", "outcome"),
    [
        ([], False, (), None),
        ([LIVING], False, (), None),
        ([UNKNOWN], False, (), None),
        ([GONE], True, (), "Background"),
        ([GONE], True, ("orphan",), "Orphan"),
        ([WAITING], False, (), "Background"),
        ([WAITING, GONE], True, (), "Foreground"),
        ([LIVING, GONE, WAITING], False, (), ["a"]),
        ([UNKNOWN, GONE], False, (), ["u"]),
    ],
)
def test_what_becomes_of_an_object_with_owners(
    owners: list[Judged], owning: bool, finalizers: tuple[str, ...], outcome: Any
) -> None:
    uids = [judged.reference.uid for judged in owners]
    found = reconcile_dependant(item(owners=uids, finalizers=finalizers), owners, owning=owning)
    if outcome is None:
        assert found == []
    elif isinstance(outcome, str):
        assert found == [Delete(CONFIG_MAP, "shop", "x", "x", propagation=outcome)]
    else:
        (patch,) = found
        assert isinstance(patch, Patch)
        left = patch.patch["metadata"]["ownerReferences"]
        assert ([one["uid"] for one in left], patch.patch["metadata"]["resourceVersion"]) == (outcome, "7")


def test_an_object_waits_for_what_blocks_it_and_lets_orphans_go_first() -> None:
    waiting = item("w", ending=True, finalizers=("foregroundDeletion", "mine"))
    assert reconcile_ending(waiting, [item(owners=["w"])]) == []
    (patch,) = reconcile_ending(waiting, [item(owners=["other"])])
    assert isinstance(patch, Patch)
    assert patch.patch["metadata"]["finalizers"] == ["mine"]
    orphaning = item("w", ending=True, finalizers=("orphan",))
    first, second = reconcile_ending(orphaning, [item(owners=["w"])])
    assert isinstance(first, Patch)
    assert isinstance(second, Patch)
    assert (first.name, first.patch["metadata"]["ownerReferences"]) == ("x", None)
    assert (second.name, second.patch["metadata"]["finalizers"]) == ("w", None)
