"""Which work a change makes: change -> keys. A key names what to reconcile, not what happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from lateen.api.core import Service
from lateen.api.discovery import SERVICE_NAME_LABEL
from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, controller_of, is_terminating, labels_of
from lateen.cluster.controllers.backends import selects
from lateen.cluster.controllers.ownership import selects as workload_selects
from lateen.cluster.controllers.state import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    SERVICE_ACCOUNT,
    State,
)
from lateen.kube.informer import Change

ZONE_LABEL = "topology.kubernetes.io/zone"


class Work(Enum):
    """What is reconciled as one."""

    SERVICE = "service"
    NAMESPACE = "namespace"
    POD = "pod"
    LOAD_BALANCER = "load balancer"
    DEPLOYMENT = "deployment"
    REPLICA_SET = "replica set"
    JOB = "job"


class Key(NamedTuple):
    """One piece of work."""

    work: Work
    namespace: str
    name: str


def format_key(key: Key) -> str:
    """A key as log lines show it."""
    return f"{key.work.value} {key.namespace}/{key.name}" if key.namespace else f"{key.work.value} {key.name}"


_CONTROLLERS: tuple[tuple[Kind, Kind, Work], ...] = (
    (POD, REPLICA_SET, Work.REPLICA_SET),
    (POD, JOB, Work.JOB),
    (REPLICA_SET, DEPLOYMENT, Work.DEPLOYMENT),
)
"""(kind, kind of its controllers, their work)."""
_OWN_WORK = {DEPLOYMENT: Work.DEPLOYMENT, REPLICA_SET: Work.REPLICA_SET, JOB: Work.JOB}


def find_work(state: State, change: Change) -> Iterable[Key]:
    """The keys whose outcome may differ after the change, which the state already holds."""
    namespace, name = change.key
    documents = [found for found in (change.old, change.new) if found is not None]
    if change.kind is SERVICE:
        return [Key(Work.SERVICE, namespace, name), Key(Work.LOAD_BALANCER, namespace, name)]
    if change.kind is ENDPOINTS:
        return [Key(Work.SERVICE, namespace, name)]
    if change.kind in _OWN_WORK:
        own = Key(_OWN_WORK[change.kind], namespace, name)
        return [own, *_find_work_of_controllers(state, change.kind, namespace, documents)]
    if change.kind is ENDPOINT_SLICE:
        return [Key(Work.SERVICE, namespace, labels_of(found).get(SERVICE_NAME_LABEL, "")) for found in documents]
    if change.kind is POD:
        return _find_work_of_pod(state, change, documents)
    if change.kind is NAMESPACE:
        return [Key(Work.NAMESPACE, "", name)]
    if change.kind is SERVICE_ACCOUNT or change.kind is CONFIG_MAP:
        return [Key(Work.NAMESPACE, "", namespace)]
    if change.kind is NODE:
        return _find_work_of_node(state, change)
    raise AssertionError(change.kind.qualified_name)


def _find_work_of_pod(state: State, change: Change, documents: list[JsonObject]) -> Iterator[Key]:
    namespace, name = change.key
    for labels in {tuple(sorted(labels_of(found).items())) for found in documents}:
        for pair in labels:
            for service in state.views(SERVICE, Service, namespace, state.find_names(SERVICE, namespace, [pair])):
                if selects(service, dict(labels)):
                    yield Key(Work.SERVICE, namespace, service.metadata.name)
    yield from _find_work_of_controllers(state, POD, namespace, documents)
    if change.new is None:
        yield Key(Work.NAMESPACE, "", namespace)
        yield from _find_work_of_recreation(state, namespace, documents)
    elif is_terminating(change.new):
        yield Key(Work.POD, namespace, name)


def _find_work_of_controllers(
    state: State, kind: Kind, namespace: str, documents: Iterable[JsonObject]
) -> Iterator[Key]:
    """The controllers of an object, or those whose selector would have them adopt it."""
    for owned, owner_kind, work in _CONTROLLERS:
        if owned is not kind:
            continue
        for found in documents:
            controller = controller_of(found)
            if controller is not None:
                if controller.get("kind") == owner_kind.kind:
                    yield Key(work, namespace, str(controller.get("name")))
                continue
            for owner in state.documents(owner_kind, namespace):
                if workload_selects(owner, labels_of(found)):
                    yield Key(work, namespace, owner["metadata"]["name"])


def _find_work_of_recreation(state: State, namespace: str, documents: Iterable[JsonObject]) -> Iterator[Key]:
    """The Deployment of a pod that is gone: it may wait for that."""
    for found in documents:
        controller = controller_of(found) or {}
        owner = state.find(REPLICA_SET, namespace, str(controller.get("name")))
        deployment = controller_of(owner) if owner is not None else None
        if deployment is not None and deployment.get("kind") == DEPLOYMENT.kind:
            yield Key(Work.DEPLOYMENT, namespace, str(deployment.get("name")))


def _find_work_of_node(state: State, change: Change) -> Iterator[Key]:
    old, new = (None if found is None else labels_of(found).get(ZONE_LABEL) for found in (change.old, change.new))
    for namespace in state.names(NAMESPACE, ""):
        if old != new:
            yield from (Key(Work.SERVICE, namespace, name) for name in state.names(SERVICE, namespace))
        if change.new is None:
            yield from (Key(Work.POD, namespace, name) for name in state.names(POD, namespace))
