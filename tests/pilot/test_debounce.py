from itertools import pairwise

import pytest

from lateen.pilot.debounce import LONGEST_SECONDS, QUIET_SECONDS, Debounce


def test_a_lone_change_leaves_at_once() -> None:
    debounce = Debounce()
    debounce.note(5.0)
    assert debounce.due_at == 5.0


def test_nothing_is_due_when_nothing_came() -> None:
    debounce = Debounce()
    assert debounce.due_at is None
    debounce.note(5.0)
    debounce.take(5.0)
    assert debounce.due_at is None


def test_the_second_change_waits_for_quiet() -> None:
    debounce = Debounce()
    debounce.note(5.0)
    debounce.take(5.0)
    debounce.note(5.004)
    assert debounce.due_at == 5.004 + QUIET_SECONDS
    debounce.note(5.008)
    assert debounce.due_at == 5.008 + QUIET_SECONDS


def test_a_storm_is_let_through_now_and_then() -> None:
    debounce = Debounce()
    debounce.note(0.0)
    debounce.take(0.0)
    taken = []
    now = 0.0
    while now < 1.0:
        now += 0.005
        due_at = debounce.due_at
        if due_at is not None and now >= due_at:
            debounce.take(now)
            taken.append(now)
        debounce.note(now)
    assert 9 <= len(taken) <= 10
    waits = [later - earlier for earlier, later in pairwise(taken)]
    assert max(waits) <= LONGEST_SECONDS + 0.010


@pytest.mark.parametrize("pause", [QUIET_SECONDS, 1.0])
def test_after_quiet_a_lone_change_leaves_at_once_again(pause: float) -> None:
    debounce = Debounce()
    for now in (0.0, 0.003):
        debounce.note(now)
    debounce.take(0.013)
    debounce.note(0.013 + pause)
    assert debounce.due_at == 0.013 + pause
