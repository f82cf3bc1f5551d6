"""What the controllers know: the objects of the API by kind and namespace.

Flow: changed documents -> State; `view` decodes a document once. What a controller wrote itself is put here at once,
so that the next `reconcile` does not work on what it has just replaced; an older version that the watch still brings
is ignored, and so is anything about an object that is gone: uids never return.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from lateen.api.codec import decode
from lateen.api.discovery import SERVICE_NAME_LABEL
from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.objects import (
    JsonObject,
    ObjectKey,
    controller_of,
    key_of,
    labels_of,
    resource_version_of,
    uid_of,
)
from lateen.api.view import View

V = TypeVar("V", bound=View)
Pair = tuple[str, str]


#: What objects are filed under besides their labels: the uid of their controller. No label has such a name.
CONTROLLED_BY = "/controlled-by"

_REMEMBERED_GONE = 10_000


def _find(group: str, kind: str) -> Kind:
    found = Registry(BUILTIN).find_kind(group, "v1", kind)
    assert found is not None, kind
    return found


SERVICE = _find("", "Service")
POD = _find("", "Pod")
NODE = _find("", "Node")
NAMESPACE = _find("", "Namespace")
SERVICE_ACCOUNT = _find("", "ServiceAccount")
CONFIG_MAP = _find("", "ConfigMap")
ENDPOINTS = _find("", "Endpoints")
EVENT = _find("", "Event")
ENDPOINT_SLICE = _find("discovery.k8s.io", "EndpointSlice")
DEPLOYMENT = _find("apps", "Deployment")
REPLICA_SET = _find("apps", "ReplicaSet")
JOB = _find("batch", "Job")

_FILED_BY_LABELS = (POD, REPLICA_SET, ENDPOINT_SLICE)


class _Entry:
    __slots__ = ("document", "view")

    def __init__(self, document: JsonObject) -> None:
        self.document = document
        self.view: View | None = None


class State:
    """Objects by kind, namespace and name; documents are not to be changed."""

    def __init__(self, *, root_certificate: str = "") -> None:
        self.root_certificate = root_certificate
        self._entries: dict[tuple[str, str], dict[str, _Entry]] = {}
        self._by_pair: dict[tuple[str, str, Pair], set[str]] = {}
        self._gone: dict[str, None] = {}

    def put(self, kind: Kind, document: JsonObject) -> None:
        """Know this version of an object, unless a newer one of it is known, or that it is gone."""
        if uid_of(document) in self._gone:
            return
        key = key_of(document)
        shelf = self._entries.setdefault((kind.qualified_name, key.namespace), {})
        known = shelf.get(key.name)
        if known is not None and _is_older(document, known.document):
            return
        if known is not None:
            self._unfile(kind, key, known.document)
        shelf[key.name] = _Entry(document)
        for pair in _pairs_of(kind, document):
            self._by_pair.setdefault((kind.qualified_name, key.namespace, pair), set()).add(key.name)

    def remove(self, kind: Kind, key: ObjectKey) -> None:
        """Know that the object is gone."""
        place = (kind.qualified_name, key.namespace)
        shelf = self._entries.get(place, {})
        known = shelf.pop(key.name, None)
        if known is not None:
            self._unfile(kind, key, known.document)
            self._forget(uid_of(known.document))
        if not shelf:
            self._entries.pop(place, None)

    def _forget(self, uid: str) -> None:
        if uid:
            self._gone[uid] = None
        if len(self._gone) > _REMEMBERED_GONE:
            del self._gone[next(iter(self._gone))]

    def _unfile(self, kind: Kind, key: ObjectKey, document: JsonObject) -> None:
        for pair in _pairs_of(kind, document):
            place = (kind.qualified_name, key.namespace, pair)
            self._by_pair[place].discard(key.name)
            if not self._by_pair[place]:
                del self._by_pair[place]

    def find_names(self, kind: Kind, namespace: str, pairs: Iterable[Pair]) -> list[str]:
        """The sorted names of the objects filed under all of the pairs, of which there is at least one.

        Pods, replica sets and slices are filed under each of their labels and their controller, Services under one
        pair of their selector.
        """
        sets = [self._by_pair.get((kind.qualified_name, namespace, pair), set()) for pair in pairs]
        return sorted(set.intersection(*sets))

    def find(self, kind: Kind, namespace: str, name: str) -> JsonObject | None:
        """The document of an object."""
        entry = self._entries.get((kind.qualified_name, namespace), {}).get(name)
        return None if entry is None else entry.document

    def documents(self, kind: Kind, namespace: str) -> Iterator[JsonObject]:
        """The documents of a namespace, in the order of their names."""
        shelf = self._entries.get((kind.qualified_name, namespace), {})
        return (shelf[name].document for name in sorted(shelf))

    def labelled_slices(self, namespace: str, service: str) -> list[JsonObject]:
        """The EndpointSlices that say they belong to the Service."""
        names = self.find_names(ENDPOINT_SLICE, namespace, [(SERVICE_NAME_LABEL, service)])
        return [found for name in names if (found := self.find(ENDPOINT_SLICE, namespace, name)) is not None]

    def find_view(self, kind: Kind, view: type[V], namespace: str, name: str) -> V | None:
        """An object as a typed view; None also when it cannot be read as one."""
        entry = self._entries.get((kind.qualified_name, namespace), {}).get(name)
        return None if entry is None else _view_of(entry, view)

    def views(self, kind: Kind, view: type[V], namespace: str, names: Iterable[str]) -> Iterator[V]:
        """Those of the named objects that can be read as the view, in the order of the names."""
        return (found for name in names if (found := self.find_view(kind, view, namespace, name)) is not None)

    def names(self, kind: Kind, namespace: str) -> list[str]:
        """The sorted names of a namespace's objects."""
        return sorted(self._entries.get((kind.qualified_name, namespace), {}))


def _pairs_of(kind: Kind, document: JsonObject) -> Iterable[Pair]:
    if kind in _FILED_BY_LABELS:
        controller = controller_of(document)
        pairs = list(labels_of(document).items())
        return [*pairs, (CONTROLLED_BY, str(controller.get("uid")))] if controller else pairs
    if kind is SERVICE:
        selector: Mapping[str, str] = (document.get("spec") or {}).get("selector") or {}
        return sorted(selector.items())[:1]
    return ()


def _view_of(entry: _Entry, view: type[V]) -> V | None:
    if not isinstance(entry.view, view):
        entry.view = decode(entry.document, view).value
    return entry.view if isinstance(entry.view, view) else None


def _is_older(document: JsonObject, known: JsonObject) -> bool:
    one, other = resource_version_of(document), resource_version_of(known)
    same_object = uid_of(document) == uid_of(known)
    return same_object and one.isdecimal() and other.isdecimal() and int(one) < int(other)
