"""The cells of the spreadsheet and the store that holds them, with copy-on-write forks.

Flow: cell -> Node (value, what it read, who read it, colour). A cell is an input (`Row`, `Keys`, `Lookup`)
or a `Call` of a query. A fork shares every node with its parent until one of the two edits it: the editor
then works on a copy, and a parent leaves the old node to its living forks. Neither sees the other's edits,
and a fork costs no more than what is edited in it.

Invariant: the dependents of a node that is not CLEAN are not CLEAN either, so marking may stop at such a
node.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    from lateen.incremental.inputs import Index, Table
    from lateen.incremental.query import Query


class Row(NamedTuple):
    """One row of a table; its value is None while there is none."""

    table: Table[Any, Any]
    key: Hashable


class Keys(NamedTuple):
    """The sorted keys of a table; changes with membership only."""

    table: Table[Any, Any]


class Lookup(NamedTuple):
    """The sorted keys of the rows that an index files under a value."""

    source: Index[Any, Any, Any]
    value: Hashable


class Call(NamedTuple):
    """A query with its arguments: the key under which its result is memoised."""

    query: Query[..., Any]
    args: tuple[Hashable, ...]

    def __str__(self) -> str:
        return f"{self.query.name}({', '.join(map(repr, self.args))})"


Cell = Row | Keys | Lookup | Call


class _Nothing:
    """The type of NOTHING."""

    def __repr__(self) -> str:
        return "NOTHING"


#: The value of a call that has none: not computed yet, dropped, or its function raised.
NOTHING: Final = _Nothing()


class Colour(IntEnum):
    """What is known of a memoised value."""

    CLEAN = 0
    CHECK = 1  #: something behind one of its reads changed
    STALE = 2  #: one of its reads changed


#: So many dependents are kept in a tuple: most cells have one, and a set is four times as large.
_FEW_DEPENDENTS = 4


class Node:
    """What a store knows of one cell; `reads` is in reading order and empty for inputs."""

    __slots__ = ("cell", "colour", "dependents", "owner", "reads", "value")

    def __init__(self, owner: object, cell: Cell) -> None:
        self.owner = owner
        self.cell = cell
        self.value: Any = _initial_value(cell)
        self.reads: tuple[Cell, ...] = ()
        self.dependents: set[Call] | tuple[Call, ...] = ()
        self.colour = Colour.CLEAN

    @property
    def is_idle(self) -> bool:
        """Whether forgetting the node loses nothing: an input without dependents, with the value of a missing one."""
        if self.dependents or isinstance(self.cell, Call):
            return False
        return self.value is None if isinstance(self.cell, Row) else not self.value

    def copy(self, owner: object) -> Node:
        """An equal node for another owner."""
        node = Node(owner, self.cell)
        node.value, node.reads, node.colour = self.value, self.reads, self.colour
        node.dependents = self.dependents.copy() if isinstance(self.dependents, set) else self.dependents
        return node

    def link(self, call: Call) -> None:
        """Note that the call, which did not until now, reads this cell."""
        if isinstance(self.dependents, set):
            self.dependents.add(call)
        elif len(self.dependents) < _FEW_DEPENDENTS:
            self.dependents = (*self.dependents, call)
        else:
            self.dependents = {*self.dependents, call}

    def unlink(self, call: Call) -> None:
        """Note that the call no longer reads this cell."""
        if isinstance(self.dependents, set):
            self.dependents.discard(call)
        else:
            self.dependents = tuple(other for other in self.dependents if other != call)


def _initial_value(cell: Cell) -> object:
    if isinstance(cell, Call):
        return NOTHING
    return None if isinstance(cell, Row) else ()


class Cells:
    """A store of nodes, possibly on top of another one."""

    def __init__(self, base: Cells | None = None) -> None:
        self._base = base
        self._own: dict[Cell, Node | None] = {}
        self._owner = object()
        self._forks: list[ref[Cells]] = []

    def find(self, cell: Cell) -> Node | None:
        """The node of the cell, to be read only."""
        node = self._own.get(cell)
        store = self
        while node is None and store._base is not None and cell not in store._own:
            store = store._base
            node = store._own.get(cell)
        return node

    def edit(self, cell: Cell) -> Node:
        """The node of the cell, to be written; made when there is none."""
        node = self._own.get(cell)
        if node is not None and node.owner is self._owner:
            return node
        old = self.find(cell)
        node = Node(self._owner, cell) if old is None else old.copy(self._owner)
        self._leave_to_forks(cell, old)
        self._own[cell] = node
        return node

    def drop(self, cell: Cell) -> None:
        """Forget the cell."""
        self._leave_to_forks(cell, self.find(cell))
        if self._base is None:
            self._own.pop(cell, None)
        else:
            self._own[cell] = None

    def fork(self) -> Cells:
        """A store with the same contents, independent from now on."""
        self._owner = object()
        fork = Cells(self)
        self._forks.append(ref(fork, self._forks.remove))
        return fork

    def __iter__(self) -> Iterator[Cell]:
        """Every cell that has a node, in no particular order."""
        if self._base is not None:
            yield from (cell for cell in self._base if cell not in self._own)
        yield from [cell for cell, node in self._own.items() if node is not None]

    def _leave_to_forks(self, cell: Cell, old: Node | None) -> None:
        for reference in tuple(self._forks):
            if (fork := reference()) is not None:
                fork._own.setdefault(cell, old)
