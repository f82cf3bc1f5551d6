"""Which rows could a value depend on: recorded reads -> rows.

A row read by key is a candidate; a read of a key list makes a candidate of each listed key. Nothing else
can change the value, since a query sees the database through recorded reads only.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from lateen.incremental.cells import Call, Cell, Cells, Keys, Lookup, Row
from lateen.incremental.inputs import Table


def find_candidates(cells: Cells, call: Call) -> set[tuple[Table[Any, Any], Hashable]]:
    """The rows, present ones only, behind the recorded reads of the call and of all that it called."""
    found: set[tuple[Table[Any, Any], Hashable]] = set()
    seen: set[Cell] = set()
    pending: list[Cell] = [call]
    while pending:
        cell = pending.pop()
        node = cells.find(cell)
        if node is None or cell in seen:
            continue
        seen.add(cell)
        match cell:
            case Row(table, key):
                if node.value is not None:
                    found.add((table, key))
            case Keys(table):
                found.update((table, key) for key in node.value)
            case Lookup(index, _):
                found.update((index.table, key) for key in node.value)
            case Call():
                pending += node.reads
    return found
