"""Inputs: tables of rows, and indexes over them.

Flow: changed rows -> changed input cells (the rows, the key list when membership changed, the postings of
each index). Declared once at module level; the rows live in a Database. Keys must be hashable and sortable,
because every list of keys is sorted: the order of input never shows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from lateen.incremental.cells import Cell, Cells, Keys, Lookup, Row

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
I = TypeVar("I", bound=Hashable)  # noqa: E741 - the value that an index files by

Change = tuple["Table[Any, Any]", Any, Any]


class Table(Generic[K, V]):
    """A kind of input: key -> immutable value, compared with `==`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Table({self.name!r})"


class Index(Generic[K, V, I]):
    """Keys of a table filed under what the pure `by(key, value)` yields; commits keep it up to date."""

    def __init__(self, name: str, table: Table[K, V], by: Callable[[K, V], Iterable[I]]) -> None:
        self.name = name
        self.table = table
        self.by = by

    def __repr__(self) -> str:
        return f"Index({self.name!r})"


def same(old: object, new: object) -> bool:
    """Whether two values are interchangeable: equal and, since 1 == True, of one type."""
    return old is new or (type(old) is type(new) and old == new)


def find_changed_inputs(
    cells: Cells, indexes: Mapping[Table[Any, Any], Iterable[Index[Any, Any, Any]]], changes: Iterable[Change]
) -> dict[Cell, object]:
    """The input cells that get another value, with that value; a later change of a row wins."""
    rows: dict[Cell, object] = {}
    members: dict[Cell, dict[Hashable, bool]] = {}
    for row, new in {Row(table, key): value for table, key, value in changes}.items():
        node = cells.find(row)
        old = None if node is None else node.value
        if same(old, new):
            continue
        rows[row] = new
        if old is None or new is None:
            members.setdefault(Keys(row.table), {})[row.key] = new is not None
        for index in indexes.get(row.table, ()):
            before = () if old is None else dict.fromkeys(index.by(row.key, old))
            after = () if new is None else dict.fromkeys(index.by(row.key, new))
            for value in before:
                if value not in after:
                    members.setdefault(Lookup(index, value), {})[row.key] = False
            for value in after:
                if value not in before:
                    members.setdefault(Lookup(index, value), {})[row.key] = True
    for cell, moves in members.items():
        node = cells.find(cell)
        rows[cell] = _move(() if node is None else node.value, moves)
    return rows


def build_postings(cells: Cells, index: Index[Any, Any, Any]) -> dict[Cell, object]:
    """The postings of an index over the rows that are there, for its first use."""
    keys = cells.find(Keys(index.table))
    postings: dict[Cell, list[Hashable]] = {}
    for key in () if keys is None else keys.value:
        row = cells.find(Row(index.table, key))
        assert row is not None, "a key without its row"
        for value in dict.fromkeys(index.by(key, row.value)):
            postings.setdefault(Lookup(index, value), []).append(key)
    return {cell: tuple(found) for cell, found in postings.items()}


def _move(keys: tuple[Any, ...], moves: Mapping[Any, bool]) -> tuple[Any, ...]:
    left = [key for key in keys if key not in moves]
    left += [key for key, stays in moves.items() if stays]
    left.sort()
    return tuple(left)
