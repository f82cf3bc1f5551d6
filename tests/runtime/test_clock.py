"""The clocks: the machine's, and the one that tests turn by hand."""

import asyncio
from datetime import timedelta

from lateen.runtime.clock import SystemClock
from lateen.testing.clock import ManualClock
from lateen.testing.poll import until

SECOND = timedelta(seconds=1)


async def test_the_system_clock_never_wakes_early():
    clock = SystemClock()
    start = clock.monotonic()
    await clock.sleep(timedelta(milliseconds=5))
    await clock.sleep(-SECOND)
    assert clock.monotonic() - start >= timedelta(milliseconds=5)
    assert clock.now().utcoffset() == timedelta()


async def test_the_manual_clock_wakes_sleepers_in_the_order_of_their_deadlines():
    clock = ManualClock()
    start = clock.now()
    woken = []

    async def sleeper(name: str, *durations: timedelta) -> None:
        for duration in durations:
            await clock.sleep(duration)
            woken.append((name, clock.now() - start))

    tasks = [
        asyncio.create_task(sleeper("slow", 3 * SECOND)),
        asyncio.create_task(sleeper("chained", SECOND, SECOND)),
        asyncio.create_task(sleeper("never", 60 * SECOND)),
    ]
    await until(lambda: clock.sleepers == 3)
    await clock.advance(10 * SECOND)
    assert woken == [("chained", SECOND), ("chained", 2 * SECOND), ("slow", 3 * SECOND)]
    assert clock.monotonic() == 10 * SECOND
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.sleepers == 0
