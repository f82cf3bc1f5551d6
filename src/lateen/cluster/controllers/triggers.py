"""Which work a change makes: change -> keys. A key names what to reconcile, not what happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from lateen.api.core import Service
from lateen.api.discovery import SERVICE_NAME_LABEL
from lateen.api.objects import JsonObject, is_terminating, labels_of
from lateen.cluster.controllers.backends import selects
from lateen.cluster.controllers.state import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    ENDPOINTS,
    NAMESPACE,
    NODE,
    POD,
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


class Key(NamedTuple):
    """One piece of work."""

    work: Work
    namespace: str
    name: str


def find_work(state: State, change: Change) -> Iterable[Key]:
    """The keys whose outcome may differ after the change, which the state already holds."""
    namespace, name = change.key
    documents = [found for found in (change.old, change.new) if found is not None]
    if change.kind is SERVICE or change.kind is ENDPOINTS:
        return [Key(Work.SERVICE, namespace, name)]
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
    if change.new is None:
        yield Key(Work.NAMESPACE, "", namespace)
    elif is_terminating(change.new):
        yield Key(Work.POD, namespace, name)


def _find_work_of_node(state: State, change: Change) -> Iterator[Key]:
    old, new = (None if found is None else labels_of(found).get(ZONE_LABEL) for found in (change.old, change.new))
    for namespace in state.names(NAMESPACE, ""):
        if old != new:
            yield from (Key(Work.SERVICE, namespace, name) for name in state.names(SERVICE, namespace))
        if change.new is None:
            yield from (Key(Work.POD, namespace, name) for name in state.names(POD, namespace))
