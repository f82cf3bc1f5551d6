"""Long work in slices, so that the event loop never stalls.

Flow: `await pace.map(work, items)` -> results; between items the loop gets its turn as soon as the work of this
turn, of all callers together, has taken `SLICE_SECONDS`. Invariants: results keep the order of the items; while
turns are free nothing is suspended, so short work costs an addition. A single item of `map` is never
interrupted: give it less than a slice; what can pause by itself goes through `finish`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

SLICE_SECONDS = 0.005
"""A quarter of the longest stall that is promised (20 ms), as one item may start at its end."""


class Pace:
    """The turns of one event loop; whoever computes much shares one of these."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._reset_is_due = False
        self._turn = asyncio.Event()

    async def turn(self) -> None:
        """Wait until this turn of the loop has time left."""
        while self._spent >= SLICE_SECONDS:
            self._turn.clear()
            await self._turn.wait()
        if not self._reset_is_due:
            self._reset_is_due = True
            asyncio.get_running_loop().call_soon(self._reset)

    def charge(self, seconds: float) -> None:
        """Count work of this turn that was, or is about to be, done elsewhere."""
        self._spent += seconds

    async def map(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The result of `work` for each item, in order."""
        results: list[R] = []
        for item in items:
            await self.turn()
            started = perf_counter()
            results.append(work(item))
            self._spent += perf_counter() - started
        return results

    async def finish(self, advance: Callable[[Callable[[], bool]], bool]) -> None:
        """Call `advance(is_over)` in turn after turn until it says that it is done."""
        is_done = False
        while not is_done:
            await self.turn()
            started = perf_counter()
            end = started + SLICE_SECONDS - self._spent
            is_done = advance(lambda end=end: perf_counter() >= end)  # type: ignore[misc]
            self._spent += perf_counter() - started

    def _reset(self) -> None:
        self._spent = 0.0
        self._reset_is_due = False
        self._turn.set()
