"""What one proxy may see: the calls of translation behind type URLs and names.

Flow: (type URL, name) -> `Call` -> value from the database, in slices.

Invariants: a type that discovery does not serve is answered as "no such resource", never left open; secrets are
not among the types served, on any port.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import cast

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
        return await self._pace.map(self._ask_one, calls)

    def _ask_one(self, call: Hashable | None) -> ResourceSet | Resource | None:
        return None if call is None else cast("ResourceSet | Resource | None", self._db.ask(cast("Call", call)))
