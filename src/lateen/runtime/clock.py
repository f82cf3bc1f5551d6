"""Time as a thing that is passed in, so that tests may turn it by hand.

Flow: whoever needs the time takes a `Clock`; programs pass `SystemClock()`, tests
`lateen.testing.clock.ManualClock`. Invariants: `now` is aware and in UTC; `monotonic` never goes back and
its zero means nothing; `sleep` never returns early.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware, in UTC."""

    def monotonic(self) -> timedelta:
        """Return the time since some fixed moment; differences alone have a meaning."""

    async def sleep(self, duration: timedelta) -> None:
        """Wait at least this long; a negative duration only yields to the loop."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> timedelta:
        """Return the time since some fixed moment."""
        return timedelta(seconds=time.monotonic())

    async def sleep(self, duration: timedelta) -> None:
        """Wait at least this long."""
        await asyncio.sleep(max(0.0, duration.total_seconds()))
