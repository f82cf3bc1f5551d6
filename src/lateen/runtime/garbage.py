"""Cycle collection whose pauses stay short in a program that holds many objects for long.

Python's oldest generation is walked whole whenever it has grown by a quarter: 50 ms for half a million objects,
in the middle of whatever goes on. Here that never happens by itself. Every `YOUNG` what is new is collected and the
rest set aside (`gc.freeze`), so the next walk is short; every `WHOLE` everything is walked once. Cycles among what
was set aside live until then; nearly all garbage here is freed by reference counts at once anyway.
"""

from __future__ import annotations

import gc
from datetime import timedelta

from lateen.runtime.clock import Clock

YOUNG = timedelta(seconds=30)
WHOLE = timedelta(hours=1)
_ALLOCATIONS = 5_000  # between two walks of the youngest generation; ten of these make one of the middle one
_NEVER = 1_000_000


async def keep_pauses_short(clock: Clock) -> None:
    """Take cycle collection over until cancelled; to be started once the program's own objects are made."""
    usual = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, 10, _NEVER)
    try:
        whole_at = clock.monotonic()
        while True:
            if clock.monotonic() >= whole_at:
                gc.unfreeze()
                whole_at = clock.monotonic() + WHOLE
            gc.collect()
            gc.freeze()
            await clock.sleep(YOUNG)
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
