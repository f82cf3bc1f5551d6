"""Work in slices: the loop gets its turn between them, and results keep their order."""

import asyncio
from time import perf_counter

from lateen.runtime.pace import SLICE_SECONDS, Pace


def work(number: int) -> int:
    """Busy for a fifth of a slice."""
    end = perf_counter() + SLICE_SECONDS / 5
    while perf_counter() < end:
        pass
    return number


async def count_turns(turns: list[int]) -> None:
    while True:
        turns[0] += 1
        await asyncio.sleep(0)


async def test_the_loop_turns_while_several_callers_work() -> None:
    pace, turns = Pace(), [0]
    counter = asyncio.create_task(count_turns(turns))
    results = await asyncio.gather(*(pace.map(work, range(10)) for _ in range(5)))
    counter.cancel()
    assert results == [list(range(10))] * 5
    assert turns[0] >= 50 / 6


async def test_short_work_is_not_suspended() -> None:
    pace, turns = Pace(), [0]
    counter = asyncio.create_task(count_turns(turns))
    assert await pace.map(str, [1, 2, 3]) == ["1", "2", "3"]
    assert turns[0] == 0
    counter.cancel()


async def test_work_that_pauses_by_itself_is_continued_until_it_is_done() -> None:
    pace, done = Pace(), []

    def advance(is_over: object) -> bool:
        assert callable(is_over)
        while len(done) < 30:
            done.append(work(len(done)))
            if is_over():
                return False
        return True

    turns = [0]
    counter = asyncio.create_task(count_turns(turns))
    await pace.finish(advance)
    counter.cancel()
    assert len(done) == 30
    assert turns[0] >= 4


async def test_charged_work_counts() -> None:
    pace, turns = Pace(), [0]
    counter = asyncio.create_task(count_turns(turns))
    for _ in range(10):
        await pace.turn()
        pace.charge(SLICE_SECONDS)
    counter.cancel()
    assert turns[0] >= 9
