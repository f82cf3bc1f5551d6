"""Garbage: an object, its owners and what it owns -> whether it goes, and how.

| owners                                  | the object                                                           |
| --------------------------------------- | -------------------------------------------------------------------- |
| none, or of a kind that nobody knows    | stays                                                                |
| at least one that lives                 | stays; references to owners that are gone or wait for it are dropped |
| none lives, one waits for its dependants | goes, after its own dependants if it has any                         |
| none lives                              | goes, its dependants as its own finalizers say                       |

An object that is being deleted with the finalizer `orphan` first lets go what it owns; with `foregroundDeletion` it
waits until no dependant blocks it. Source: the Kubernetes page "Garbage Collection" and its controller
(pkg/controller/garbagecollector).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from lateen.api.core import OwnerReference
from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject
from lateen.cluster.apiserver.termination import FOREGROUND, ORPHAN
from lateen.cluster.controllers.actions import Delete, Patch
from lateen.cluster.revisions import Key


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the collector reads of an object."""

    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None


class Item(NamedTuple):
    """An object in the graph of owners."""

    key: Key
    kind: Kind
    metadata: Metadata

    @property
    def owners(self) -> tuple[OwnerReference, ...]:
        """The objects that it belongs to."""
        return self.metadata.owner_references or ()

    @property
    def ending(self) -> bool:
        """Whether it is being deleted."""
        return self.metadata.deletion_timestamp is not None

    def holds(self, finalizer: str) -> bool:
        """Whether the finalizer is set."""
        return finalizer in (self.metadata.finalizers or ())

    @property
    def waiting(self) -> bool:
        """Whether it waits for its dependants to go first."""
        return self.ending and self.holds(FOREGROUND)


class Judged(NamedTuple):
    """An owner reference and what it leads to: None if that is gone; `known` False if nobody can tell."""

    reference: OwnerReference
    owner: Item | None
    known: bool = True


def reconcile_ending(item: Item, dependants: Sequence[Item]) -> list[Delete | Patch]:
    """What an object that is being deleted needs from the collector."""
    if item.holds(ORPHAN):
        released = [_drop_owners(one, {item.metadata.uid}) for one in dependants]
        return [*released, _drop_finalizer(item, ORPHAN)]
    if item.holds(FOREGROUND) and not any(_blocks(one, item) for one in dependants):
        return [_drop_finalizer(item, FOREGROUND)]
    return []


def reconcile_dependant(item: Item, owners: Iterable[Judged], *, owning: bool) -> list[Delete | Patch]:
    """What an object that has owners needs; `owning` if it has dependants of its own."""
    living: list[Judged] = []
    waiting: list[Judged] = []
    gone: list[Judged] = []
    for judged in owners:
        waits = judged.owner is not None and judged.owner.waiting
        (waiting if waits else living if judged.owner is not None or not judged.known else gone).append(judged)
    if living:
        surplus = {judged.reference.uid for judged in (*waiting, *gone)}
        return [_drop_owners(item, surplus)] if surplus else []
    if not waiting and not gone:
        return []
    policy = "Background"
    if item.holds(ORPHAN):
        policy = "Orphan"
    elif item.holds(FOREGROUND) or (waiting and owning):
        policy = "Foreground"
    return [Delete(item.kind, item.key.namespace, item.key.name, item.metadata.uid, propagation=policy)]


def _blocks(dependant: Item, owner: Item) -> bool:
    return any(one.block_owner_deletion for one in dependant.owners if one.uid == owner.metadata.uid)


def _drop_owners(item: Item, uids: set[str]) -> Patch:
    left = [msgspec.to_builtins(one) for one in item.owners if one.uid not in uids]
    return _patch(item, {"ownerReferences": left or None})


def _drop_finalizer(item: Item, finalizer: str) -> Patch:
    left = [one for one in item.metadata.finalizers or () if one != finalizer]
    return _patch(item, {"finalizers": left or None})


def _patch(item: Item, metadata: JsonObject) -> Patch:
    """A change of this very object in this very state."""
    identity = {"uid": item.metadata.uid, "resourceVersion": item.metadata.resource_version}
    return Patch(item.kind, item.key.namespace, item.key.name, {"metadata": {**identity, **metadata}})
