import asyncio
import gc
import weakref

from lateen.runtime.garbage import WHOLE, YOUNG, keep_pauses_short
from lateen.testing.clock import ManualClock
from lateen.testing.poll import until


class Ring:
    def __init__(self) -> None:
        self.ring = self


async def test_cycles_go_soon_when_young_and_within_the_hour_when_old() -> None:
    clock, usual = ManualClock(), gc.get_threshold()
    keeping = asyncio.create_task(keep_pauses_short(clock))
    await until(lambda: clock.sleepers)
    young, old = Ring(), Ring()
    seen_young, seen_old = weakref.ref(young), weakref.ref(old)
    del young
    await clock.advance(YOUNG)
    assert seen_young() is None
    del old
    await clock.advance(YOUNG)
    assert seen_old() is not None, "set aside"
    await clock.advance(WHOLE)
    assert seen_old() is None
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0
