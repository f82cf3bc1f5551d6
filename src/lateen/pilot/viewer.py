"""What one proxy may see: the calls of translation behind type URLs and names.

Flow: (type URL, name) -> `Call` -> value from the database, in slices.

Invariants: a type that discovery does not serve is answered as "no such resource", never left open; secrets are
not among the types served, on any port.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial

from lateen.base.errors import NotFoundError
from lateen.incremental.cells import Call
from lateen.incremental.database import Database
from lateen.mesh.proxy import Proxy
from lateen.runtime.pace import Pace
from lateen.translate.generate import find_call
from lateen.xds.resources import Resource, ResourceSet


class ProxyViewer:
    """The mesh as one proxy sees it."""

    def __init__(self, proxy: Proxy, db: Database, pace: Pace) -> None:
        self.proxy = proxy
        self._db = db
        self._pace = pace

    def find_call(self, type_url: str, name: str | None) -> Call | None:
        """The call behind a name, or with None behind the whole type; None if there is none."""
        try:
            return find_call(self.proxy, type_url, name)
        except NotFoundError:
            return None

    async def ask(self, calls: Iterable[Hashable | None]) -> list[ResourceSet | Resource | None]:
        """The value of each call."""
        values: list[ResourceSet | Resource | None] = []
        for call in calls:
            if call is None:
                values.append(None)
                continue
            assert isinstance(call, Call)
            await self._pace.finish(partial(self._db.advance, call))
            values.append(self._db.ask(call))
        return values
