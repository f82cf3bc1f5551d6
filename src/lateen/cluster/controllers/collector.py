"""The garbage collector's loop: committed revisions -> the graph of owners -> judgements -> deletions and patches.

It sees every object of every kind, so it reads the store of the API server in whose process it runs instead of
holding a watch and a copy per kind; what it wants done takes the API's ordinary way, past admission. Only objects
that have owners are remembered: who owns what by uid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from lateen.api.core import OwnerReference
from lateen.api.kinds import Kind, Registry, parse_api_version
from lateen.base.errors import LateenError, NotFoundError
from lateen.cluster.controllers.actions import Delete, Patch
from lateen.cluster.controllers.garbage import Item, Judged, Metadata, reconcile_dependant, reconcile_ending
from lateen.cluster.controllers.queue import WorkQueue
from lateen.cluster.revisions import Key, Revision
from lateen.cluster.store import Store
from lateen.kube.client import Client
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff

log = get_logger("controllers/garbage")

_WORKERS = 4
_FIRST_DELAY, _LONGEST_DELAY = timedelta(milliseconds=10), timedelta(seconds=5)


class _Document(msgspec.Struct, frozen=True):
    metadata: Metadata


_DOCUMENT = msgspec.json.Decoder(_Document)


async def collect_garbage(client: Client, store: Store, registry: Registry) -> None:
    """Run until cancelled."""
    await Collector(client, store, registry).run()


class Collector:
    """Deletes what has lost its owners."""

    def __init__(self, client: Client, store: Store, registry: Registry) -> None:
        self._client = client
        self._store = store
        self._registry = registry
        self._queue: WorkQueue[Key] = WorkQueue()
        self._delays: dict[Key, Backoff] = {}
        self._owners: dict[Key, frozenset[str]] = {}
        self._owned: dict[str, set[Key]] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        stop = self._store.observe(self._observe)
        try:
            for resource in self._store.resources():
                self._observe(self._store.list_objects(resource))
            async with asyncio.TaskGroup() as group:
                for number in range(_WORKERS):
                    group.create_task(self._work(), name=f"garbage/worker-{number}")
        finally:
            stop()

    def _observe(self, revisions: Sequence[Revision]) -> None:
        for revision in revisions:
            if revision.deleted:
                self._forget(revision)
            elif b'"ownerReferences":' in revision.body or b'"deletionTimestamp":' in revision.body:
                self._remember(revision.key, _DOCUMENT.decode(revision.body).metadata)
            elif revision.key in self._owners:
                self._file(revision.key, frozenset())

    def _remember(self, key: Key, metadata: Metadata) -> None:
        owners = frozenset(one.uid for one in metadata.owner_references or ())
        if owners != self._owners.get(key, frozenset()):
            self._file(key, owners)
            self._queue.add((key,))
        if metadata.deletion_timestamp is not None:
            self._queue.add((key,))
            self._queue.add(self._owned.get(metadata.uid, ()))

    def _forget(self, revision: Revision) -> None:
        owned = bool(self._owners.get(revision.key))
        self._file(revision.key, frozenset())
        if not owned and not self._owned:
            return
        metadata = _DOCUMENT.decode(revision.body).metadata
        self._queue.add(self._owned.get(metadata.uid, ()))
        for reference in metadata.owner_references or ():  # one may wait for the last of its dependants
            if (key := self._find_owner(revision.key, reference)) is not None:
                self._queue.add((key,))

    def _file(self, key: Key, owners: frozenset[str]) -> None:
        for uid in self._owners.pop(key, frozenset()):
            self._owned[uid].discard(key)
            if not self._owned[uid]:
                del self._owned[uid]
        if owners:
            self._owners[key] = owners
        for uid in owners:
            self._owned.setdefault(uid, set()).add(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                for action in self._reconcile(key):
                    await self._perform(action)
                self._delays.pop(key, None)
            except LateenError as error:
                backoff = self._delays.setdefault(key, Backoff(_FIRST_DELAY, _LONGEST_DELAY))
                log.debug("trying again", object="/".join(key), error=error.message)
                self._queue.add_later(key, backoff.next())
            finally:
                self._queue.done(key)
            await asyncio.sleep(0)

    def _reconcile(self, key: Key) -> list[Delete | Patch]:
        item = self._find(key)
        if item is None:
            return []
        dependants = [one for other in sorted(self._owned.get(item.metadata.uid, ())) if (one := self._find(other))]
        if item.ending:
            return reconcile_ending(item, dependants)
        owners = [self._judge(item, reference) for reference in item.owners]
        return reconcile_dependant(item, owners, owning=bool(dependants))

    def _find(self, key: Key) -> Item | None:
        revision, kind = self._store.get(key), self._find_kind(key.resource)
        if revision is None or kind is None:
            return None
        return Item(key, kind, _DOCUMENT.decode(revision.body).metadata)

    def _find_kind(self, resource: str) -> Kind | None:
        plural, _, group = resource.partition(".")
        return next((kind for kind in self._registry if (kind.plural, kind.group) == (plural, group)), None)

    def _find_owner(self, dependant: Key, reference: OwnerReference) -> Key | None:
        """Where the owner would stand; None for a kind that nobody knows, or in no namespace that could be meant."""
        kind = self._registry.find_kind(*parse_api_version(reference.api_version), reference.kind)
        if kind is None or (kind.namespaced and not dependant.namespace):
            return None
        return Key(kind.qualified_name, dependant.namespace if kind.namespaced else "", reference.name)

    def _judge(self, item: Item, reference: OwnerReference) -> Judged:
        key = self._find_owner(item.key, reference)
        if key is None:
            return Judged(reference, None, known=False)
        owner = self._find(key)
        return Judged(reference, owner if owner is not None and owner.metadata.uid == reference.uid else None)

    async def _perform(self, action: Delete | Patch) -> None:
        try:
            match action:
                case Delete(kind, namespace, name, uid, propagation=propagation):
                    await self._client.delete(kind, namespace, name, uid=uid, propagation=propagation)
                case Patch(kind, namespace, name, patch):
                    await self._client.patch(kind, namespace, name, patch)
        except NotFoundError:
            return
