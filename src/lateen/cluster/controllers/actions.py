"""What a controller wants done: plain data that a pure `reconcile` returns and the loop performs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject


@dataclass(frozen=True)
class Report:
    """Tell the user of an object what is done about it: an Event."""

    kind: Kind
    document: JsonObject
    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Create:
    """Make an object; that it exists already is no error, the next change tells.

    `report` is made afterwards, its `{name}` the name that the object was given.
    """

    kind: Kind
    document: JsonObject
    report: Report | None = None


@dataclass(frozen=True)
class Update:
    """Replace an object as of the resource version in the document."""

    kind: Kind
    document: JsonObject
    subresource: str = ""


@dataclass(frozen=True)
class Patch:
    """Merge a patch into this very object (`uid`)."""

    kind: Kind
    namespace: str
    name: str
    patch: JsonObject


@dataclass(frozen=True)
class Delete:
    """Delete this very object (`uid`); with `now`, without a grace period."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    now: bool = False
    propagation: str | None = None


@dataclass(frozen=True)
class Empty:
    """Delete everything in a namespace, then look at what is left."""

    namespace: str


@dataclass(frozen=True)
class LookAgain:
    """Reconcile the same again after a while, because time alone will change the outcome."""

    after: timedelta


Action = Create | Update | Patch | Delete | Empty | Report | LookAgain
