"""What a controller wants done: plain data that a pure `reconcile` returns and the loop performs."""

from __future__ import annotations

from dataclasses import dataclass

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject


@dataclass(frozen=True)
class Create:
    """Make an object; that it exists already is no error, the next change tells."""

    kind: Kind
    document: JsonObject


@dataclass(frozen=True)
class Update:
    """Replace an object as of the resource version in the document."""

    kind: Kind
    document: JsonObject
    subresource: str = ""


@dataclass(frozen=True)
class Delete:
    """Delete this very object (`uid`); with `now`, without a grace period."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    now: bool = False


@dataclass(frozen=True)
class Empty:
    """Delete everything in a namespace, then look at what is left."""

    namespace: str


Action = Create | Update | Delete | Empty
