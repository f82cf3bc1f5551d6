"""A clock that stands still until a test advances it.

Flow: `advance(duration)` moves `now` and `monotonic` together and wakes, in order of their deadlines,
those whose `sleep` has ended; each gets the loop before the next deadline is reached, so chained sleeps
see the times in between.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

# Turns of the loop granted to whoever was woken before time moves on; chains of awaits are shorter than this.
_TURNS = 20


class ManualClock:
    """A `lateen.runtime.clock.Clock` under the test's control."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = timedelta()
        self._order = itertools.count()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []

    @property
    def sleepers(self) -> int:
        """How many wait for this clock; a test polls it to know that its subject has gone to sleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def now(self) -> datetime:
        """Return the start plus what was advanced."""
        return self._start + self._elapsed

    def monotonic(self) -> timedelta:
        """Return what was advanced."""
        return self._elapsed

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the test has advanced that far."""
        if duration <= timedelta():
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + duration, next(self._order), future))
        await future

    async def advance(self, duration: timedelta) -> None:
        """Move time on by `duration`, waking sleepers in the order of their deadlines."""
        end = self._elapsed + duration
        while self._sleepers and self._sleepers[0][0] <= end:
            deadline, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, deadline)
            if not future.done():
                future.set_result(None)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        self._elapsed = end
