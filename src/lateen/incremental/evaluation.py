"""Bringing a call up to date: verify what may be reused, run what may not, record every read.

Flow: call -> value. A CHECK node has its reads brought up to date in reading order; one that comes out
different makes it STALE, and if none does, it is CLEAN without having run (early cutoff). The order
matters: a later read may exist only because of an earlier one's value. A function that raises leaves its
reads and no value.

Verification uses no Python stack. Running nests as the functions do, up to `_NESTING`; the evaluation then
starts anew from the call that was too deep and afterwards repeats the callers, which find it memoised. So
chains of any length are computed within Python's recursion limit, each function at most twice.

Cycles: `Frame.low` is the depth of the outermost call in progress that the frame's own evaluation asked for
again (the low-link of Tarjan's algorithm). A frame with one is on a cycle and raises even if its function
caught the error, so the outcome does not depend on which call was asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from lateen.incremental.cells import NOTHING, Call, Cell, Cells, Colour
from lateen.incremental.inputs import same
from lateen.incremental.query import CycleError

if TYPE_CHECKING:
    from lateen.incremental.database import Database

#: Queries that may nest before the evaluation starts anew. Each takes about six Python frames, of 1000.
_NESTING = 50


class Counts(NamedTuple):
    """How much work a database did: functions run, values reused after checking their reads, plain reuses."""

    recomputed: int
    verified: int
    hits: int


class _TooDeep(BaseException):
    """Unwinds to the bottom; not an Exception, so that no query's own handler stops it."""

    def __init__(self, call: Call) -> None:
        self.call = call


class Interrupted(BaseException):
    """Ends an evaluation whose time is over; not an Exception, so that no query's own handler stops it."""


class Frame:
    """A call whose function is running, with what it read so far."""

    __slots__ = ("depth", "low", "reads")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.low = depth + 1
        self.reads: dict[Cell, None] = {}


class _Failure(NamedTuple):
    error: Exception
    head: Call | None  # the outermost call of the cycle that it is on


class Evaluation:
    """One outermost `ask`: no input changes while it lasts."""

    def __init__(self, db: Database, cells: Cells, is_over: Callable[[], bool] | None = None) -> None:
        """With `is_over` the evaluation ends by `Interrupted` between two functions, once it has a value to keep."""
        self.frame: Frame | None = None
        self.recomputed = 0
        self.verified = 0
        self._got_on = False
        self._db = db
        self._cells = cells
        self._is_over = is_over
        self._chain: dict[Call, int] = {}  # calls in progress -> depth, outermost first
        self._nested = 0
        self._failures: dict[Call, _Failure] = {}

    def drive(self, call: Call) -> Any:
        """The value of the call, or what its function raised."""
        pending = [(call, 0)]
        while True:
            target, depth = pending[-1]
            for suspended in list(self._chain)[depth:]:
                del self._chain[suspended]
            self._nested, self.frame = 0, None
            try:
                value = self.evaluate(target)
            except _TooDeep as deep:
                pending.append((deep.call, len(self._chain)))
                continue
            except Exception:
                if len(pending) == 1:
                    raise
                value = NOTHING  # its caller, run again, meets the failure
            pending.pop()
            if not pending:
                return value

    def evaluate(self, call: Call) -> Any:
        """The value of a call that is not CLEAN or has none."""
        if self._must_run(call):
            return self._run(call)
        walk: dict[Call, Iterator[Cell]] = {call: self._reads_of(call)}
        while walk:
            top, reads = next(reversed(walk.items()))
            unsettled = self._next_unsettled(reads) if self._colour(top) is Colour.CHECK else None
            if unsettled is None:
                del walk[top]
                if self._colour(top) is Colour.CHECK:
                    self._cells.edit(top).colour = Colour.CLEAN
                    self.verified += 1
                elif walk and self._must_run(top):
                    self._run_quietly(top)
            elif unsettled in walk or unsettled in self._chain:
                self._cells.edit(top).colour = Colour.STALE  # a cycle, unless running it shows otherwise
            elif self._must_run(unsettled):
                self._run_quietly(unsettled)
            else:
                walk[unsettled] = self._reads_of(unsettled)
        if self._must_run(call):
            return self._run(call)
        return self._cells.edit(call).value

    def _must_run(self, call: Call) -> bool:
        node = self._cells.find(call)
        return node is None or node.colour is Colour.STALE or node.value is NOTHING

    def _reads_of(self, call: Call) -> Iterator[Cell]:
        node = self._cells.find(call)
        return iter(() if node is None else node.reads)

    def close(self) -> None:
        """Let go of what was raised: tracebacks keep whole stacks alive."""
        self._failures.clear()

    def _colour(self, call: Call) -> Colour:
        node = self._cells.find(call)
        return Colour.STALE if node is None else node.colour

    def _next_unsettled(self, reads: Iterator[Cell]) -> Call | None:
        for cell in reads:
            if isinstance(cell, Call) and self._colour(cell) is not Colour.CLEAN:
                return cell
        return None

    def _run_quietly(self, call: Call) -> None:
        try:
            self._run(call)
        except Exception:  # whoever read the call is STALE now and meets the failure when it runs
            return

    def _run(self, call: Call) -> Any:
        if (failure := self._failures.get(call)) is not None:
            self._taint(failure.head)
            raise failure.error
        if call in self._chain:
            self._taint(call)
            raise CycleError(_rotate([*self._chain][self._chain[call] :]))
        if self._nested >= _NESTING:
            raise _TooDeep(call)
        if self._is_over is not None and self._got_on and self._is_over():
            raise Interrupted
        caller, frame = self.frame, Frame(len(self._chain))
        self.frame = frame
        self._chain[call] = frame.depth
        self._nested += 1
        try:
            try:
                value = call.query.function(self._db, *call.args)
            finally:
                self.frame = caller
                self._nested -= 1
            if frame.low <= frame.depth:
                raise CycleError(_rotate([*self._chain][frame.low :]))
        except Exception as error:
            raise self._fail(call, frame, caller, error) from None
        del self._chain[call]
        return self._finish(call, frame, value)

    def _taint(self, head: Call | None) -> None:
        if head is not None and self.frame is not None and head in self._chain:
            self.frame.low = min(self.frame.low, self._chain[head])

    def _fail(self, call: Call, frame: Frame, caller: Frame | None, error: Exception) -> Exception:
        chain = [*self._chain]
        if frame.low <= frame.depth and not isinstance(error, CycleError):
            error = CycleError(_rotate(chain[frame.low :]))
        if caller is not None:
            caller.low = min(caller.low, frame.low)
        self._failures[call] = _Failure(error, chain[frame.low] if frame.low < frame.depth else None)
        del self._chain[call]
        self._finish(call, frame, NOTHING)
        return error

    def _finish(self, call: Call, frame: Frame, value: Any) -> Any:
        """Keep value and reads; an equal value stays the old object, and nobody is told."""
        self.recomputed += 1
        cells, reads = self._cells, tuple(frame.reads)
        node = cells.edit(call)
        node.colour = Colour.CLEAN
        if node.reads != reads:
            for cell in node.reads:
                if cell not in frame.reads:
                    cells.edit(cell).unlink(call)
            before = frozenset(node.reads)
            for cell in reads:
                if cell not in before:
                    cells.edit(cell).link(call)
            node.reads = reads
        self._got_on = self._got_on or value is not NOTHING
        if value is NOTHING or not same(node.value, value):
            node.value = value
            for dependent in node.dependents:
                if self._colour(dependent) is Colour.CHECK:
                    cells.edit(dependent).colour = Colour.STALE
        return node.value


def _rotate(path: list[Call]) -> tuple[Call, ...]:
    """The cycle begun at its least name, so that every entry into it tells the same."""
    names = [str(call) for call in path]
    start = names.index(min(names))
    return (*path[start:], *path[:start])
