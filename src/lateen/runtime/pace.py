"""Long work in slices, so that the event loop never stalls.

Flow: `await pace.map(work, items)` -> results; between items the loop gets its turn as soon as the work of this
turn, of all callers together, has taken `SLICE_SECONDS`. Invariants: results keep the order of the items; while
turns are free nothing is suspended, so short work costs one addition an item. A single item is never
interrupted: give it the size of a slice or less.
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

    async def map(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The result of `work` for each item, in order."""
        results: list[R] = []
        for item in items:
            while self._spent >= SLICE_SECONDS:
                self._turn.clear()
                await self._turn.wait()
            if not self._reset_is_due:
                self._reset_is_due = True
                asyncio.get_running_loop().call_soon(self._reset)
            started = perf_counter()
            results.append(work(item))
            self._spent += perf_counter() - started
        return results

    def _reset(self) -> None:
        self._spent = 0.0
        self._reset_is_due = False
        self._turn.set()
