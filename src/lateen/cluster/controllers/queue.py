"""A queue of keys: each stands in it once, and is worked on by one worker at a time.

Adding a key that is being worked on queues it again for afterwards, so no change is missed and none is done twice at
once. Source: client-go's workqueue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from datetime import timedelta
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class WorkQueue(Generic[T]):
    """Keys in the order of their first addition."""

    def __init__(self) -> None:
        self._waiting: dict[T, None] = {}
        self._working: set[T] = set()
        self._again: dict[T, None] = {}
        self._filled = asyncio.Event()
        self._timers: dict[T, asyncio.TimerHandle] = {}

    def add(self, keys: Iterable[T]) -> None:
        """Have the keys worked on."""
        for key in keys:
            (self._again if key in self._working else self._waiting)[key] = None
        if self._waiting:
            self._filled.set()

    def add_later(self, key: T, delay: timedelta) -> None:
        """Have the key worked on after the delay, which replaces an earlier one."""
        self.forget(key)
        self._timers[key] = asyncio.get_running_loop().call_later(delay.total_seconds(), self._wake, key)

    def forget(self, key: T) -> None:
        """Wait no longer for the key's delay."""
        if key in self._timers:
            self._timers.pop(key).cancel()

    def _wake(self, key: T) -> None:
        del self._timers[key]
        self.add((key,))

    async def take(self) -> T:
        """The next key; the taker says `done` when it is."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: T) -> None:
        """The key was worked on."""
        self._working.discard(key)
        if key in self._again:
            del self._again[key]
            self.add((key,))
