"""Informers: list and watch of one kind -> a local copy of its objects and ordered changes.

Flow: list -> changes against the copy (a first list: all ADDED) -> watch from the list's version ->
changes, those that arrived together in one batch. When the server no longer knows our version (410) the
next list is compared with the copy, so nothing is lost and nothing told twice. Connections are tried again
with growing delays, at once when the server closed a working watch.

Invariants: the copy is updated before a batch is told; of one key, changes come in the order of resource
versions; an object that was deleted and made anew is told as DELETED, then ADDED. `managedFields` are
dropped: nobody reads them and they are a third of an object. Source: client-go's Reflector, minus its
resync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import timedelta
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, ObjectKey, key_of, resource_version_of, uid_of
from lateen.base.errors import NotFoundError, PermissionDeniedError, UnavailableError
from lateen.kube.client import Client, WatchEvent
from lateen.kube.errors import ApiGoneError
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff

log = get_logger("kube/informer")

_FIRST_DELAY = timedelta(milliseconds=50)
_LONGEST_DELAY = timedelta(seconds=5)
#: A watch that the server ends sooner, without a word, is tried again with a delay.
_LASTING_SECONDS = 1.0


class ChangeType(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Change(NamedTuple):
    """One step of one object; `old` is None when added, `new` when deleted."""

    type: ChangeType
    kind: Kind
    key: ObjectKey
    old: JsonObject | None
    new: JsonObject | None


OnChanges = Callable[[tuple[Change, ...]], None]


class Informer:
    """The objects of one kind; `on_changes` is called in the loop's thread and must not block."""

    def __init__(
        self,
        client: Client,
        kind: Kind,
        *,
        on_changes: OnChanges,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self.kind = kind
        self._client = client
        self._on_changes = on_changes
        self._namespace = namespace
        self._selectors = {"label_selector": label_selector, "field_selector": field_selector}
        self._objects: dict[ObjectKey, JsonObject] = {}
        self._version: str | None = None
        self._synced = asyncio.Event()
        self._backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)

    @property
    def objects(self) -> Mapping[ObjectKey, JsonObject]:
        """The copy: a live view, its documents not to be changed."""
        return MappingProxyType(self._objects)

    async def synced(self) -> None:
        """Wait until the first list is in the copy and told."""
        await self._synced.wait()

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._relist()
                if await self._watch(self._version or ""):
                    continue
            except ApiGoneError:
                self._version = None
            except (UnavailableError, PermissionDeniedError, NotFoundError) as error:
                log.warning("cannot watch", kind=self.kind.qualified_name, error=error.message)
            await asyncio.sleep(self._backoff.next().total_seconds())

    async def _relist(self) -> None:
        found = await self._client.list(self.kind, self._namespace, **self._selectors)
        self._version = found.resource_version
        self._tell(self._compare({key_of(item): item for item in found.items}))
        self._synced.set()

    def _compare(self, listed: dict[ObjectKey, JsonObject]) -> Iterable[Change]:
        for key in sorted(self._objects.keys() - listed.keys()):
            yield from self._remove(key, self._objects[key])
        for key in sorted(listed):
            yield from self._put(key, listed[key])

    async def _watch(self, version: str) -> bool:
        """Follow one watch to its end; whether it was a working one: told something, or lasted."""
        worked, clock = False, asyncio.get_running_loop().time
        started = clock()
        batches = self._client.watch_batches(self.kind, self._namespace, resource_version=version, **self._selectors)
        async with aclosing(batches):
            async for batch in batches:
                self._tell(change for event in batch for change in self._apply(event))
                self._version = resource_version_of(batch[-1].object) or self._version
                if not worked:
                    worked = True
                    self._backoff.reset()
        return worked or clock() - started > _LASTING_SECONDS

    def _apply(self, event: WatchEvent) -> Iterable[Change]:
        match event.type:
            case "ADDED" | "MODIFIED":
                yield from self._put(key_of(event.object), event.object)
            case "DELETED":
                yield from self._remove(key_of(event.object), event.object)

    def _put(self, key: ObjectKey, new: JsonObject) -> Iterable[Change]:
        old = self._objects.get(key)
        new.get("metadata", {}).pop("managedFields", None)
        if old is not None and uid_of(old) != uid_of(new):
            yield from self._remove(key, old)
            old = None
        if old is not None and resource_version_of(old) == resource_version_of(new):
            return
        self._objects[key] = new
        yield Change(ChangeType.ADDED if old is None else ChangeType.MODIFIED, self.kind, key, old, new)

    def _remove(self, key: ObjectKey, last: JsonObject) -> Iterable[Change]:
        old = self._objects.pop(key, None)
        if old is not None:
            yield Change(ChangeType.DELETED, self.kind, key, last, None)

    def _tell(self, changes: Iterable[Change]) -> None:
        if batch := tuple(changes):
            self._on_changes(batch)


class InformerSet:
    """Informers of several kinds that run together."""

    def __init__(self, client: Client, *, on_changes: OnChanges) -> None:
        self._client = client
        self._on_changes = on_changes
        self._informers: dict[Kind, Informer] = {}

    def __getitem__(self, kind: Kind) -> Informer:
        return self._informers[kind]

    def add(self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = "") -> Informer:
        """An informer of the kind that tells to the set's `on_changes`; before `run` only."""
        informer = self._informers[kind] = Informer(
            self._client,
            kind,
            on_changes=self._on_changes,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        return informer

    async def synced(self) -> None:
        """Wait until every kind's first list is told."""
        for informer in self._informers.values():
            await informer.synced()

    async def run(self) -> None:
        """Run all informers until cancelled, or until one fails for a reason that is our bug."""
        async with asyncio.TaskGroup() as group:
            for kind, informer in self._informers.items():
                group.create_task(informer.run(), name=f"informer/{kind.qualified_name}")
