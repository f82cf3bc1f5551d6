"""Long computations in slices: the same values, with the loop in between."""

from hypothesis import given
from hypothesis import strategies as st

from lateen.incremental.database import Database
from lateen.incremental.inputs import Table
from lateen.incremental.query import query

NUMBERS: Table[int, int] = Table("numbers")


@query
def square(db: Database, key: int) -> int:
    return (db.get(NUMBERS, key) or 0) ** 2


@query
def group(db: Database, first: int) -> int:
    return sum(square(db, key) for key in range(first, first + 10))


@query
def total(db: Database) -> int:
    return sum(group(db, first) for first in range(0, 100, 10))


@query
def failing(db: Database, key: int) -> int:
    raise LookupError(key)


@query
def tolerant(db: Database) -> int:
    value = 0
    for key in range(10):
        try:
            value += failing(db, key)
        except LookupError:
            value += square(db, key)
    return value


def run_in_slices(db: Database, functions_a_slice: int) -> int:
    """How many slices it took."""
    slices = 0
    while True:
        asked = 0

        def is_over() -> bool:
            nonlocal asked
            asked += 1
            return asked >= functions_a_slice

        slices += 1
        if db.advance(total.call(), is_over):
            return slices


def test_every_slice_keeps_what_it_computed() -> None:
    db = Database()
    db.commit((NUMBERS, key, key) for key in range(100))
    assert run_in_slices(db, 5) >= 10
    assert db.counts.recomputed == 111, "no function ran twice to its end"
    assert total(db) == sum(key**2 for key in range(100))


def test_a_slice_without_time_still_gets_on() -> None:
    db = Database()
    db.commit([(NUMBERS, 1, 1)])
    assert run_in_slices(db, 0) <= 111


def test_a_slice_without_time_gets_on_past_queries_that_fail() -> None:
    db = Database()
    slices = 1
    while not db.advance(tolerant.call(), lambda: True):
        slices += 1
    assert slices <= 11
    assert tolerant(db) == 0


@given(st.lists(st.dictionaries(st.integers(0, 99), st.integers(0, 9), max_size=5), max_size=4), st.integers(1, 40))
def test_slices_with_commits_between_them_end_at_the_same_value(commits: list[dict[int, int]], size: int) -> None:
    sliced, whole = Database(), Database()
    for rows in commits:
        changes = [(NUMBERS, key, value) for key, value in rows.items()]
        sliced.commit(changes)
        whole.commit(changes)
        calls = iter(range(size))
        sliced.advance(total.call(), lambda calls=calls: next(calls, None) is None)
    assert run_in_slices(sliced, size)
    assert total(sliced) == total(whole)
