"""Background tasks that are named, owned and loud; retry delays; the signals and the parent that end a
program.

Flow: a component owns a `TaskSet`, starts named tasks in it and closes it; `Backoff` says how long to wait
between tries. Invariants: no task outlives its set; a task that raises is logged at once with its
traceback and is raised again by `TaskSet.wait`; cancelling is not a failure. Source: asyncio's
documentation on tasks, prctl(2) for PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from lateen.runtime.logging import get_logger

log = get_logger("tasks")


class TaskSet:
    """Tasks of one owner: started by name, cancelled together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run the coroutine until it ends or the set is closed."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self) -> None:
        """Wait for ever, or until a task fails: then raise what it raised."""
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._failure)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended; safe to call twice."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure is not None and not self._failure.done():
            self._failure.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("task failed", task=task.get_name(), error=error, exc_info=error)
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        if not self._failure.done():
            self._failure.set_exception(error)
            # Marked as seen: an owner that never waits has been told by the log line above.
            self._failure.exception()


class Backoff:
    """Delays between tries: doubled from `initial` to `maximum`, each spread by ±`jitter`, until `reset`."""

    def __init__(self, initial: timedelta, maximum: timedelta, *, jitter: float = 0.2) -> None:
        self._initial = initial
        self._maximum = maximum
        self._jitter = jitter
        self._next = initial

    def reset(self) -> None:
        """Begin again with the initial delay."""
        self._next = self._initial

    def next(self) -> timedelta:
        """Return how long to wait before the next try."""
        delay, self._next = self._next, min(self._next * 2, self._maximum)
        return delay * random.uniform(1 - self._jitter, 1 + self._jitter)


async def wait_for_stop_signal() -> None:
    """Return at the first SIGTERM or SIGINT, which then no longer end the process by themselves."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
