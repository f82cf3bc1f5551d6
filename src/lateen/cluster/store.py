"""All objects of the cluster: current states and recent history in memory, revisions on disk.

put/delete(key, document, expected version) -> Journal -> committed -> readers and watches. One global
counter numbers the writes. Reads and watches see committed revisions only, so no version is ever handed out
and then lost; writers see what is still on its way (`latest`), so that two writers of one object meet each
other before the disk does.

Invariants: an acknowledged write survives `kill -9`; a watch that resumes at version v gets every later
event exactly once and in order, or CompactedError if v is older than the history kept. A watch holds a
position and no queue, so a slow reader costs nothing. Source: etcd's revision model as kube-apiserver shows
it to clients.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lateen.base.errors import ConflictError, LateenError
from lateen.cluster.journal import Compaction, Journal, Submission
from lateen.cluster.revisions import Event, Key, Revision, build_revision

HISTORY_EVENTS = 20_000
HISTORY_BYTES = 24 << 20
"""The history that watches can replay, whichever limit is met first; a quarter more between compactions."""


class CompactedError(LateenError):
    """The history that a watch wants to resume from is no longer kept."""

    def __init__(self, wanted: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {wanted} ({oldest})")


class WrongVersionError(ConflictError):
    """The object is not at the version that the writer expects; `current` is None if it does not exist."""

    def __init__(self, key: Key, current: Revision | None) -> None:
        super().__init__(f"{'/'.join(key)} is at version {current.version if current else 0}")
        self.current = current


class Watch:
    """A position in the history of one resource; made by `Store.watch`, given back with `close`."""

    def __init__(self, store: Store, resource: str, since: int) -> None:
        self._store = store
        self._wakeup: asyncio.Future[bool] | None = None
        self.resource = resource
        self.version = since

    def take(self) -> list[Event]:
        """The committed events after the position, which moves behind them; raises CompactedError."""
        events = self._store.changes(self.resource, self.version)
        self.version = max(self.version, self._store.version)
        return events

    async def wait(self, timeout_seconds: float) -> bool:
        """Return True as soon as the resource has changed, False after the timeout."""
        if self._store.newest(self.resource) > self.version:
            return True
        loop = asyncio.get_running_loop()
        self._wakeup = loop.create_future()
        timer = loop.call_later(max(timeout_seconds, 0), self._expire)
        try:
            return await self._wakeup
        finally:
            timer.cancel()
            self._wakeup = None

    def wake(self) -> None:
        """Told by the store that the resource changed."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(True)

    def _expire(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(False)

    def close(self) -> None:
        """Leave the store."""
        self._store.forget(self)


class Store:
    """The objects of one cluster; every method runs on the event loop that `start` was called on."""

    def __init__(self, path: Path, *, history_events: int = HISTORY_EVENTS, history_bytes: int = HISTORY_BYTES) -> None:
        self._journal = Journal(path)
        self._history_events = history_events
        self._history_bytes = history_bytes
        self._objects: dict[str, dict[str, dict[str, Revision]]] = {}
        self._underway: dict[Key, Revision] = {}
        self._history: deque[Event] = deque()
        self._kept_bytes = 0
        self._events: dict[str, list[Event]] = {}
        self._watches: dict[str, set[Watch]] = {}
        self._observers: list[Callable[[Sequence[Revision]], None]] = []
        self._epoch = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.compacted, revisions = self._journal.load()
        self.version = self.compacted
        for revision in revisions:
            self._apply(revision)
        self._next = self.version + 1

    def start(self) -> None:
        """Begin to accept writes, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._journal.start(self._loop, self._report)

    def close(self) -> None:
        """Write what is under way and release the file."""
        self._journal.close()

    def get(self, key: Key) -> Revision | None:
        """The committed state of an object."""
        return self._objects.get(key.resource, {}).get(key.namespace, {}).get(key.name)

    def latest(self, key: Key) -> Revision | None:
        """The state that the next write of this object meets, though it may not be on disk yet."""
        revision = self._underway.get(key)
        if revision is None:
            return self.get(key)
        return None if revision.deleted else revision

    def list_objects(self, resource: str, namespace: str = "", *, at: int | None = None) -> list[Revision]:
        """Committed objects by namespace and name; '' lists all namespaces and cluster-scoped objects.

        `at` asks for the state at an earlier version; CompactedError when its history is gone.
        """
        by_namespace = self._objects.get(resource, {})
        chosen = {namespace: by_namespace.get(namespace, {})} if namespace else by_namespace
        found = {(space, name): revision for space, names in chosen.items() for name, revision in names.items()}
        if at is not None and at < max(self.newest(resource), self.compacted):
            for event in reversed(self.changes(resource, at)):
                key = event.revision.key
                if event.previous is not None and (not namespace or key.namespace == namespace):
                    found[key.namespace, key.name] = event.previous
                else:
                    found.pop((key.namespace, key.name), None)
        return [found[place] for place in sorted(found)]

    def resources(self) -> list[str]:
        """Resources that have objects."""
        return sorted(resource for resource, found in self._objects.items() if any(found.values()))

    async def put(self, key: Key, document: dict[str, Any], *, expected: int | None) -> Revision:
        """Store a document and return once it is durable; `expected` None means that it must not exist yet.

        The document is given its resource version. Raises WrongVersionError at once, UnavailableError if
        the disk fails.
        """
        return await self._submit(key, document, expected, deleted=False)

    async def delete(self, key: Key, document: dict[str, Any], *, expected: int) -> Revision:
        """Remove an object, whose last state watches will see; errors as for `put`."""
        return await self._submit(key, document, expected, deleted=True)

    async def _submit(self, key: Key, document: dict[str, Any], expected: int | None, *, deleted: bool) -> Revision:
        current = self.latest(key)
        if (current.version if current else None) != expected:
            raise WrongVersionError(key, current)
        assert self._loop is not None, "the store was not started"
        revision = build_revision(key, self._next, document, deleted=deleted)
        self._next += 1
        self._underway[key] = revision
        future: asyncio.Future[Revision] = self._loop.create_future()
        self._journal.submit(Submission(revision, future, self._epoch))
        return await future

    def _report(self, batch: list[Submission], error: Exception | None) -> None:
        if error is not None:
            self._epoch += 1
            self._underway.clear()
            for submission in batch:
                if not submission.future.done():
                    submission.future.set_exception(error)
            return
        changed = set()
        for submission in batch:
            revision = submission.revision
            self._apply(revision)
            changed.add(revision.key.resource)
            if self._underway.get(revision.key) is revision:
                del self._underway[revision.key]
            if not submission.future.done():
                submission.future.set_result(revision)
        for observe in self._observers:
            observe([submission.revision for submission in batch])
        for resource in changed:
            for watch in self._watches.get(resource, ()):
                watch.wake()
        if len(self._history) > self._history_events * 1.25 or self._kept_bytes > self._history_bytes * 1.25:
            self._trim()

    def _apply(self, revision: Revision) -> None:
        key = revision.key
        names = self._objects.setdefault(key.resource, {}).setdefault(key.namespace, {})
        previous = names.get(key.name)
        if revision.deleted:
            names.pop(key.name, None)
        else:
            names[key.name] = revision
        self.version = max(self.version, revision.version)
        if revision.version > self.compacted:
            event = Event(revision, previous)
            self._history.append(event)
            self._kept_bytes += len(revision.body)
            self._events.setdefault(key.resource, []).append(event)

    def watch(self, resource: str, since: int) -> Watch:
        """A watch of the events after `since`; the caller closes it."""
        watch = Watch(self, resource, since)
        self._watches.setdefault(resource, set()).add(watch)
        return watch

    def observe(self, observer: Callable[[Sequence[Revision]], None]) -> Callable[[], None]:
        """Have the observer told of everything that is committed from now on; returns what ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def forget(self, watch: Watch) -> None:
        """Drop a watch that its owner closed."""
        self._watches.get(watch.resource, set()).discard(watch)

    def newest(self, resource: str) -> int:
        """The version of the last event of a resource that is kept, 0 if there is none."""
        events = self._events.get(resource)
        return events[-1].revision.version if events else 0

    def changes(self, resource: str, since: int) -> list[Event]:
        """Committed events of a resource after a version, in order; raises CompactedError."""
        if since < self.compacted:
            raise CompactedError(since, self.compacted)
        events = self._events.get(resource, [])
        if not events or events[-1].revision.version <= since:
            return []
        return events[bisect_right(events, since, key=_version_of) :]

    def compact(self, version: int) -> None:
        """Forget the history up to a version; current states stay."""
        version = min(version, self.version)
        self._spare_idle_watches(version)
        superseded = []
        dropped: Counter[str] = Counter()
        while self._history and self._history[0].revision.version <= version:
            event = self._history.popleft()
            self._kept_bytes -= len(event.revision.body)
            dropped[event.revision.key.resource] += 1
            if event.previous is not None:
                superseded.append(event.previous.version)
            if event.revision.deleted:
                superseded.append(event.revision.version)
        for resource, count in dropped.items():
            del self._events[resource][:count]
        self.compacted = max(self.compacted, version)
        self._journal.submit(Compaction(self.compacted, superseded))

    def _spare_idle_watches(self, version: int) -> None:
        """Move watches forward that missed nothing up to a version, so that compaction does not end them."""
        for resource, watches in self._watches.items():
            newest = self.newest(resource)
            for watch in watches:
                if max(newest, self.compacted) <= watch.version < version:
                    watch.version = version

    def _trim(self) -> None:
        kept, kept_bytes = len(self._history), self._kept_bytes
        mark = self.compacted
        for event in self._history:
            if kept <= self._history_events and kept_bytes <= self._history_bytes:
                break
            kept -= 1
            kept_bytes -= len(event.revision.body)
            mark = event.revision.version
        self.compact(mark)


def _version_of(event: Event) -> int:
    return event.revision.version
