"""A small language of formulas, so that random tables make random query graphs: conditionals, errors, cycles.

Run as a program it is the cold side of the comparison: each line of input (rows and names, JSON) is answered from a new
database; the tests start it with another PYTHONHASHSEED.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

from lateen.incremental.database import Database
from lateen.incremental.inputs import Index, Table
from lateen.incremental.query import query

FORMULAS: Table[str, tuple[Any, ...]] = Table("formulas")
GROUPS: Table[str, str] = Table("groups")
BY_GROUP: Index[str, str, str] = Index("by_group", GROUPS, lambda _key, group: group.split("+"))


@query
def cell(db: Database, name: str) -> Any:
    formula = db.get(FORMULAS, name)
    return 0 if formula is None else evaluate(db, formula)


@query
def members(db: Database, group: str) -> tuple[Any, ...]:
    return tuple((name, cell(db, name)) for name in db.lookup(BY_GROUP, group))


@query
def is_positive(db: Database, name: str) -> bool:
    return bool(cell(db, name)) and cell(db, name) != "error"


def evaluate(db: Database, formula: tuple[Any, ...]) -> Any:
    match formula:
        case ("constant", value):
            return value
        case ("cell", name):
            return cell(db, name)
        case ("both", left, right):
            return (cell(db, left), cell(db, right))
        case ("first", left, right):
            return cell(db, left) or cell(db, right)
        case ("if", condition, yes, no):
            return cell(db, yes) if is_positive(db, condition) else cell(db, no)
        case ("catch", *names):
            return tuple(attempt(db, name) for name in names)
        case ("raise",):
            raise ValueError("as asked")
    return evaluate_listing(db, formula)


def evaluate_listing(db: Database, formula: tuple[Any, ...]) -> Any:
    match formula:
        case ("names",):
            return db.keys(FORMULAS)
        case ("group", group):
            return db.lookup(BY_GROUP, group)
        case ("members", group):
            return members(db, group)
    raise AssertionError(formula)


def attempt(db: Database, name: str) -> Any:
    try:
        return cell(db, name)
    except Exception as error:
        return f"caught {type(error).__name__}"


def outcome(db: Database, name: str) -> str:
    """The value or the kind of error, as text that two processes can compare."""
    try:
        return repr(cell(db, name))
    except Exception as error:
        return f"raised {type(error).__name__}"


def answer_cold(formulas: Iterable[tuple[str, Any]], groups: Iterable[tuple[str, str]], names: list[str]) -> list[str]:
    db = Database()
    db.commit([(FORMULAS, key, tuple(value)) for key, value in formulas])
    db.commit([(GROUPS, key, value) for key, value in groups])
    return [outcome(db, name) for name in names]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer_cold(*json.loads(line))), flush=True)
