"""The laws of the database, tried on random spreadsheets."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spreadsheet import FORMULAS, GROUPS, cell, outcome

from lateen.incremental.database import Database

NAMES = ["a", "b", "c", "d", "e", "f"]
GROUP_NAMES = ["x", "y", "x+y"]

name = st.sampled_from(NAMES)
group = st.sampled_from(["x", "y"])
formula = st.one_of(
    st.tuples(st.just("constant"), st.integers(0, 2)),
    st.tuples(st.just("cell"), name),
    st.tuples(st.just("both"), name, name),
    st.tuples(st.just("first"), name, name),
    st.tuples(st.just("if"), name, name, name),
    st.tuples(st.just("catch"), name),
    st.tuples(st.just("catch"), name, name),
    st.tuples(st.just("raise")),
    st.tuples(st.just("names")),
    st.tuples(st.just("group"), group),
    st.tuples(st.just("members"), group),
)
change = st.one_of(
    st.tuples(st.just(FORMULAS), name, st.one_of(st.none(), formula)),
    st.tuples(st.just(GROUPS), name, st.one_of(st.none(), st.sampled_from(GROUP_NAMES))),
)
changes = st.lists(change, max_size=5)
step = st.one_of(
    st.tuples(st.just("commit"), changes),
    st.tuples(st.just("fork"), changes),
    st.tuples(st.just("leave"), st.none()),
    st.tuples(st.just("ask"), st.lists(name, max_size=3)),
    st.tuples(st.just("release"), st.lists(name, max_size=3)),
)


class Cold:
    """A process with another hash seed that answers from a new database each time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("spreadsheet.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "4711"},
        )

    def answer(self, rows: dict[tuple[Any, str], Any], names: list[str]) -> list[str]:
        formulas = [(key, value) for (table, key), value in rows.items() if table is FORMULAS]
        groups = [(key, value) for (table, key), value in rows.items() if table is GROUPS]
        random.shuffle(formulas)
        random.shuffle(groups)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([formulas, groups, names]) + "\n")
        self.process.stdin.flush()
        answers: list[str] = json.loads(self.process.stdout.readline())
        return answers


@pytest.fixture(scope="module")
def cold() -> Iterator[Cold]:
    helper = Cold()
    yield helper
    helper.process.communicate()


def put(rows: dict[tuple[Any, str], Any], batch: list[tuple[Any, str, Any]]) -> None:
    for table, key, value in batch:
        if value is None:
            rows.pop((table, key), None)
        else:
            rows[table, key] = value


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.lists(change, max_size=12), steps=st.lists(step, max_size=12), order=st.permutations(NAMES))
def test_a_warm_database_answers_as_a_cold_one(
    cold: Cold, start: list[Any], steps: list[tuple[str, Any]], order: list[str]
) -> None:
    db, rows = Database(), {}
    db.commit(start)
    put(rows, start)
    worlds = [(db, rows)]
    for action, argument in steps:
        db, rows = worlds[-1]
        match action:
            case "commit":
                db.commit(argument)
                put(rows, argument)
            case "fork":
                rows = dict(rows)
                put(rows, argument)
                worlds.append((db.fork(argument), rows))
            case "leave":
                worlds.insert(0, worlds.pop())
            case "ask":
                for key in argument:
                    outcome(db, key)
            case "release":
                db.release([cell.call(key) for key in argument])
    for db, rows in worlds:
        assert [outcome(db, key) for key in order] == cold.answer(rows, list(reversed(order)))[::-1]


@settings(max_examples=300, deadline=None)
@given(start=st.lists(change, max_size=12), later=changes, asked=name)
def test_why_is_exact(start: list[Any], later: list[Any], asked: str) -> None:
    db, rows = Database(), {}
    for batch in (start, later):
        db.commit(batch)
        put(rows, batch)
        value = outcome(db, asked)
    if value.startswith("raised"):
        return
    named = db.why(cell.call(asked))
    assert named <= rows.keys()
    for row in rows:
        without = Database()
        without.commit([(*other, rows[other]) for other in rows if other != row])
        assert (outcome(without, asked) != value) == (row in named), row


@settings(max_examples=300, deadline=None)
@given(start=st.lists(change, max_size=12), later=changes)
def test_a_fork_works_as_much_as_a_commit_and_leaves_its_parent_alone(start: list[Any], later: list[Any]) -> None:
    db = Database()
    db.commit(start)
    before = [outcome(db, key) for key in NAMES]
    counts = db.counts
    fork = db.fork(later)
    forked = [outcome(fork, key) for key in NAMES]
    assert db.counts == counts
    assert [outcome(db, key) for key in NAMES] == before
    again = db.counts
    db.commit(later)
    assert [outcome(db, key) for key in NAMES] == forked
    assert fork.counts == tuple(after - then for after, then in zip(db.counts, again, strict=True))


@settings(max_examples=300, deadline=None)
@given(start=st.lists(change, max_size=12), later=changes)
def test_a_commit_names_every_call_whose_outcome_changes(start: list[Any], later: list[Any]) -> None:
    db = Database()
    db.commit(start)
    before = {key: outcome(db, key) for key in NAMES}
    dirty = db.commit(later).dirty
    for key in NAMES:
        if cell.call(key) not in dirty:
            assert outcome(db, key) == before[key]
