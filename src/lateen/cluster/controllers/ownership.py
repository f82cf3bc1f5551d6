"""Who owns what: an owner, its selector and candidates -> what it owns, and what to adopt or let go.

An object belongs to the controller that its owner reference names. One that matches the selector and has no
controller is adopted; one that is owned but no longer matches is let go, and lives on. A terminating owner
adopts and lets go nothing. Source: Kubernetes' controller reference manager and the page "ReplicaSet".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, controller_of, is_terminating, labels_of, name_of, owners_of, uid_of
from lateen.api.schema.workloads import selector_matches
from lateen.cluster.controllers.actions import Action, Update
from lateen.cluster.controllers.state import CONTROLLED_BY, State


class Claim(NamedTuple):
    """What an owner owns, in the order of the candidates, and what makes the owner references say so."""

    owned: list[JsonObject]
    actions: list[Action]


def build_controller(kind: Kind, owner: JsonObject) -> dict[str, Any]:
    """The reference by which an object belongs to its controller and is deleted with it."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def find_candidates(state: State, kind: Kind, namespace: str, owner: JsonObject) -> list[JsonObject]:
    """Objects that the owner owns, or could adopt by its selector, by name."""
    names = set(state.find_names(kind, namespace, [(CONTROLLED_BY, uid_of(owner))]))
    if pairs := (selector_of(owner).get("matchLabels") or {}).items():
        names.update(state.find_names(kind, namespace, pairs))
    else:
        names.update(state.names(kind, namespace))
    return [found for name in sorted(names) if (found := state.find(kind, namespace, name)) is not None]


def selector_of(workload: JsonObject) -> Mapping[str, Any]:
    """The label selector of a workload; empty when it has none."""
    return (workload.get("spec") or {}).get("selector") or {}


def selects(workload: JsonObject, labels: Mapping[str, str]) -> bool:
    """Whether a workload's selector selects these labels; an empty one selects nothing."""
    selector = selector_of(workload)
    return bool(selector) and selector_matches(selector, labels)


def claim(owner_kind: Kind, owner: JsonObject, kind: Kind, candidates: Iterable[JsonObject]) -> Claim:
    """Sort the candidates out."""
    claimed, ending = Claim([], []), is_terminating(owner)
    for found in candidates:
        controller, matching = controller_of(found), selects(owner, labels_of(found))
        if controller is None:
            if ending or not matching or is_terminating(found):
                continue
            references = [*owners_of(found), build_controller(owner_kind, owner)]
            claimed.actions.append(Update(kind, _refer(found, references)))
            claimed.owned.append(found)
        elif controller.get("uid") == uid_of(owner):
            if matching:
                claimed.owned.append(found)
            elif not ending:
                references = [one for one in owners_of(found) if one.get("uid") != uid_of(owner)]
                claimed.actions.append(Update(kind, _refer(found, references)))
    return claimed


def _refer(document: JsonObject, references: list[Any]) -> JsonObject:
    return {**document, "metadata": {**document["metadata"], "ownerReferences": references}}
