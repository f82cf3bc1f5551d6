"""From changed objects to the proxies that are affected, and to no others.

Flow: `submit(changes)` -> debounce -> table rows -> `Database.commit` -> dirty calls -> marks on the streams that
show them. What a stream then sends it computes itself, when its client is ready to take it.

Invariants: changes are committed in the order of arrival, those of one batch together, so that what was applied
together arrives together; nothing here holds the event loop longer than a slice; an object that cannot be read
is reported and left out, the rest goes on. Calls that no stream shows any more are released from the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence

from lateen.base.errors import LateenError
from lateen.incremental.cells import Call
from lateen.incremental.database import Database
from lateen.incremental.inputs import Change as RowChange
from lateen.kube.informer import Change
from lateen.mesh.inputs import changes_of
from lateen.pilot.debounce import Debounce
from lateen.runtime.logging import get_logger
from lateen.runtime.metrics import Metrics
from lateen.runtime.pace import Pace
from lateen.xds.index import SubscriptionIndex

log = get_logger("push")

_RELEASE_AFTER_CALLS = 2_000
"""Forgotten subscriptions that make a walk over the whole database worth its cost."""


class Pusher:
    """The one writer of the database."""

    def __init__(self, db: Database, index: SubscriptionIndex, pace: Pace, metrics: Metrics) -> None:
        self.revision = 0
        self._db = db
        self._index = index
        self._pace = pace
        self._waiting: list[Change] = []
        self._woken = asyncio.Event()
        self._debounce = Debounce()
        self._idle = asyncio.Event()
        self._idle.set()
        self._largest_index = 0
        self._events = metrics.counter("pilot_k8s_cfg_events", "Changes of Kubernetes objects.", "type")
        self._commits = metrics.counter("pilot_commits", "Batches of changes committed.")
        self._dirty = metrics.counter("pilot_dirty_calls", "Queries that commits marked for a new look.")

    def submit(self, changes: Sequence[Change]) -> None:
        """Take changes in the order in which they happened; they are committed soon."""
        self._waiting.extend(changes)
        self._debounce.note(asyncio.get_running_loop().time())
        self._idle.clear()
        self._woken.set()

    async def settled(self) -> None:
        """Wait until everything submitted is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit and mark until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = self._debounce.due_at
            if due_at is None:
                self._idle.set()
                self._woken.clear()
                await self._woken.wait()
            elif (delay := due_at - loop.time()) > 0:
                await asyncio.sleep(delay)
            else:
                await self._commit_waiting(loop)
                self._release()

    async def _commit_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting, []
        self._debounce.take(loop.time())
        rows = await self._pace.map(self._read, batch)
        commit = self._db.commit([row for each in rows for row in each])
        self.revision = commit.revision
        self._commits.add()
        self._dirty.add(len(commit.dirty))
        await self._mark(commit.dirty)

    def _read(self, change: Change) -> tuple[RowChange, ...]:
        self._events.add(type=change.kind.kind)
        try:
            return tuple(changes_of(change.kind.kind, change.old, change.new))
        except LateenError as error:
            log.warning("object left out", object=f"{change.kind.kind} {change.key}", reason=error.message)
            return ()

    async def _mark(self, dirty: frozenset[Call]) -> None:
        marks: Iterable[int] = self._index.mark(dirty)
        await self._pace.map(lambda count: count, marks)

    def _release(self) -> None:
        """Forget what nobody shows, once enough of it may have gathered."""
        self._largest_index = max(self._largest_index, len(self._index))
        if self._largest_index - len(self._index) >= _RELEASE_AFTER_CALLS:
            roots: tuple[Hashable, ...] = self._index.calls()
            self._db.release(call for call in roots if isinstance(call, Call))
            self._largest_index = len(self._index)
            log.debug("released queries that no proxy needs", kept=len(roots))
