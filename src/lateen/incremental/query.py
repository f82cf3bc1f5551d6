"""Queries: pure functions of a database and hashable arguments.

    @query
    def endpoints(db: Database, service: ObjectRef) -> tuple[Endpoint, ...]: ...

    endpoints(db, ref)          the memoised value; inside another query, a recorded read
    endpoints.call(ref)         the call itself: a hashable name for the value, for `db.ask` and `db.why`

A query reads the world through `db` only, and its result is immutable; nothing else is asked of it. Its
arguments are the key of its memo: the fewer and smaller they are, the more callers share one computation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar, cast

from lateen.incremental.cells import Call

if TYPE_CHECKING:
    from lateen.incremental.database import Database

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


#: `Call(query, args)` without the Python function that a NamedTuple is made by: calls are made all the time.
_new_call: Callable[[tuple[object, tuple[object, ...]]], Call] = partial(tuple.__new__, Call)


class CycleError(RuntimeError):
    """A query needs its own result. Every query on the cycle raises it, whichever was asked first."""

    def __init__(self, path: tuple[Call, ...]) -> None:
        super().__init__("a query needs its own result: " + " -> ".join(map(str, (*path, path[0]))))
        self.path = path


class Query(Generic[P, R_co]):
    """A memoised function; made by the decorator `query`."""

    def __init__(self, function: Callable[Concatenate[Database, P], R_co]) -> None:
        self.function = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.__doc__ = function.__doc__

    def __call__(self, db: Database, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The value in this database."""
        if kwargs:
            raise TypeError(f"{self.name} takes positional arguments only")
        return cast("R_co", db.ask(_new_call((self, args))))

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call:
        """The call with these arguments, which must be positional so that a call has one spelling."""
        if kwargs:
            raise TypeError(f"{self.name} takes positional arguments only")
        return _new_call((self, args))

    def __repr__(self) -> str:
        return f"Query({self.name})"


def query(function: Callable[Concatenate[Database, P], R_co]) -> Query[P, R_co]:
    """Make a memoised query of a pure function."""
    return Query(function)
