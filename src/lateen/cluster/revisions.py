"""One version of one stored object, and the events that lead from version to version.

document -> Revision(key, version, encoded JSON) -> Event(type, revision, previous). The encoded form is
made once, at the write, always begins `{"apiVersion":...,"kind":...,"metadata":` and carries its own
resource version; reads and watches copy those bytes. Documents are decoded anew for each reader that wants
to change one, so nobody shares them.

Invariants: versions are global and increase with every write; a deleted revision carries the last state of
the object under the version of its deletion, which is what a DELETED event shows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


class Key(NamedTuple):
    """Where an object is stored: `resource` is `pods` or `deployments.apps`, cluster scope has namespace
    ''.
    """

    resource: str
    namespace: str
    name: str


class _Metadata(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_LABELS = msgspec.json.Decoder(_Labelled)
_DOCUMENT = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()
_FIRST: tuple[str, ...] = ("apiVersion", "kind", "metadata")


class Revision:
    """The state of one object at one resource version."""

    __slots__ = ("_labels", "body", "deleted", "key", "version")

    def __init__(self, key: Key, version: int, body: bytes, *, deleted: bool = False) -> None:
        self.key = key
        self.version = version
        self.body = body
        self.deleted = deleted
        self._labels: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Revision({'/'.join(self.key)}@{self.version}{' deleted' if self.deleted else ''})"

    @property
    def labels(self) -> dict[str, str]:
        """The object's labels; not to be changed."""
        if self._labels is None:
            self._labels = _LABELS.decode(self.body).metadata.labels or {}
        return self._labels

    def document(self) -> dict[str, Any]:
        """The object as JSON values, a new copy each time."""
        return _DOCUMENT.decode(self.body)


class Event:
    """One change of one object; `previous` is the state before it, None for a new object."""

    __slots__ = ("previous", "revision", "type")

    def __init__(self, revision: Revision, previous: Revision | None) -> None:
        self.revision = revision
        self.previous = previous if previous is not None and not previous.deleted else None
        self.type = "DELETED" if revision.deleted else "ADDED" if self.previous is None else "MODIFIED"

    def __repr__(self) -> str:
        return f"Event({self.type} {self.revision!r})"


def encode_document(document: dict[str, Any]) -> bytes:
    """JSON of an object with `apiVersion`, `kind` and `metadata` first, the rest in its own order."""
    first = {name: document[name] for name in _FIRST if name in document}
    return _ENCODER.encode(first | document)


def build_revision(key: Key, version: int, document: dict[str, Any], *, deleted: bool = False) -> Revision:
    """The revision of a document, which is given its resource version."""
    document["metadata"]["resourceVersion"] = str(version)
    return Revision(key, version, encode_document(document), deleted=deleted)
