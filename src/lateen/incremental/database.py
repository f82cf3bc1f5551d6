"""The database: inputs, memoised queries, and what one has to do with the other.

Flow: commit(changes) marks every call that a changed input can reach; ask(call) brings a marked call up to
date, running only what has to (see `evaluation`). Nobody writes invalidation code.

Laws, held by property tests: a warm database answers as a cold one with the same rows; the order of commits
and rows never shows; a fork is a database of its own, at the cost of what it changes. One thread; queries
may not commit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, TypeVar

from lateen.incremental.cells import NOTHING, Call, Cell, Cells, Colour, Keys, Lookup, Row
from lateen.incremental.evaluation import Counts, Evaluation, Interrupted
from lateen.incremental.inputs import Change, Index, Table, build_postings, find_changed_inputs
from lateen.incremental.provenance import find_candidates

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
I = TypeVar("I", bound=Hashable)  # noqa: E741 - the value that an index files by


class Commit(NamedTuple):
    """What a commit did.

    `dirty` holds every memoised call that was up to date before and may have another value now. A call
    stays dirty until it is asked for, and later commits do not name it again meanwhile.
    """

    revision: int
    dirty: frozenset[Call]


class Database:
    """Rows, and the memo of what was computed from them."""

    def __init__(self) -> None:
        self._cells = Cells()
        self._indexes: dict[Table[Any, Any], tuple[Index[Any, Any, Any], ...]] = {}
        self._evaluation: Evaluation | None = None
        self._revision = 0
        self._recomputed = self._verified = self._hits = 0

    @property
    def counts(self) -> Counts:
        """The work done since this database was made; a fork starts at zero."""
        return Counts(self._recomputed, self._verified, self._hits)

    def get(self, table: Table[K, V], key: K) -> V | None:
        """The row, None when there is none."""
        value: V | None = self._read(Row(table, key))
        return value

    def keys(self, table: Table[K, V]) -> tuple[K, ...]:
        """The keys of the table, sorted; as a read it changes with membership only."""
        keys: tuple[K, ...] = self._read(Keys(table))
        return keys

    def lookup(self, index: Index[K, V, I], value: I) -> tuple[K, ...]:
        """The keys that the index files under the value, sorted."""
        if index not in self._indexes.get(index.table, ()):
            for cell, keys in build_postings(self._cells, index).items():
                self._cells.edit(cell).value = keys
            self._indexes[index.table] = (*self._indexes.get(index.table, ()), index)
        found: tuple[K, ...] = self._read(Lookup(index, value))
        return found

    def _read(self, cell: Cell) -> Any:
        if self._evaluation is not None and self._evaluation.frame is not None:
            self._evaluation.frame.reads[cell] = None
        node = self._cells.find(cell)
        if node is None:
            return None if isinstance(cell, Row) else ()
        return node.value

    def ask(self, call: Call) -> Any:
        """The value of the call; raises what its query raises, CycleError when it needs its own result."""
        node = self._cells.find(call)
        evaluation = self._evaluation
        if evaluation is not None and evaluation.frame is not None:
            evaluation.frame.reads[call if node is None else node.cell] = None
        if node is not None and node.colour is Colour.CLEAN and node.value is not NOTHING:
            self._hits += 1
            return node.value
        if evaluation is not None:
            return evaluation.evaluate(call)
        return self._evaluate(Evaluation(self, self._cells), call)

    def advance(self, call: Call, is_over: Callable[[], bool]) -> bool:
        """Work towards the value of the call until `is_over()`; whether it is there, for `ask` at no cost.

        Every function that returned keeps its value, so repeated calls come to an end: each gets at least one more.
        Raises what `ask` raises.
        """
        self._refuse_inside_query("advance")
        try:
            self._evaluate(Evaluation(self, self._cells, is_over), call)
        except Interrupted:
            return False
        return True

    def _evaluate(self, evaluation: Evaluation, call: Call) -> Any:
        node = self._cells.find(call)
        if node is not None and node.colour is Colour.CLEAN and node.value is not NOTHING:
            return node.value
        self._evaluation = evaluation
        try:
            return evaluation.drive(call)
        finally:
            self._evaluation = None
            self._recomputed += evaluation.recomputed
            self._verified += evaluation.verified
            evaluation.close()

    def commit(self, changes: Iterable[Change]) -> Commit:
        """Set rows; None deletes one, an equal value changes nothing, a later change of the same row wins."""
        self._refuse_inside_query("commit")
        changed = find_changed_inputs(self._cells, self._indexes, changes)
        dirty: set[Call] = set()
        for cell, value in changed.items():
            node = self._cells.edit(cell)
            node.value = value
            for dependent in node.dependents:
                self._mark(dependent, Colour.STALE, dirty)
            if node.is_idle:
                self._cells.drop(cell)
        self._revision += bool(changed)
        return Commit(self._revision, frozenset(dirty))

    def _mark(self, call: Call, colour: Colour, dirty: set[Call]) -> None:
        pending = [(call, colour)]
        while pending:
            call, colour = pending.pop()
            node = self._cells.find(call)
            assert node is not None, "an edge to a call that was dropped"
            if node.colour >= colour:
                continue
            was_clean = node.colour is Colour.CLEAN
            node = self._cells.edit(call)
            node.colour = colour
            if was_clean:
                dirty.add(call)
                pending += [(dependent, Colour.CHECK) for dependent in node.dependents]

    def fork(self, changes: Iterable[Change] = ()) -> Database:
        """A database with these changes on top, independent of this one from now on; shares all it can."""
        self._refuse_inside_query("fork")
        fork = Database()
        fork._cells = self._cells.fork()
        fork._indexes = dict(self._indexes)
        fork._revision = self._revision
        fork.commit(changes)
        return fork

    def why(self, call: Call) -> frozenset[tuple[Table[Any, Any], Any]]:
        """The rows whose removal, each alone, gives the call another value or makes it raise.

        Exact: every row behind a recorded read is a candidate, and each is tried in a fork, since a query
        may read what makes no difference. Costs one recomputation of the call's affected part for each
        candidate.
        """
        value = self.ask(call)
        found = find_candidates(self._cells, call)
        return frozenset(row for row in found if self.fork([(*row, None)])._differs(call, value))

    def _differs(self, call: Call, value: object) -> bool:
        try:
            return self.ask(call) is not value
        except Exception:
            return True

    def release(self, roots: Iterable[Call]) -> None:
        """Forget every memoised call that no root needs; costs a walk over the whole graph."""
        self._refuse_inside_query("release")
        cells = self._cells
        kept: set[Cell] = set()
        pending: list[Cell] = list(roots)
        while pending:
            cell = pending.pop()
            node = cells.find(cell)
            if node is not None and cell not in kept:
                kept.add(cell)
                pending += node.reads
        dropped = [cell for cell in cells if isinstance(cell, Call) and cell not in kept]
        for call in dropped:
            for read in cells.edit(call).reads:
                node = cells.edit(read)
                node.unlink(call)
                if node.is_idle:
                    cells.drop(read)
        for call in dropped:
            cells.drop(call)

    def _refuse_inside_query(self, action: str) -> None:
        if self._evaluation is not None:
            raise RuntimeError(f"a query may not {action}: it reads the database and nothing else")
