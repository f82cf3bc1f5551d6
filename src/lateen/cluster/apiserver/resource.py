"""One served resource: (group, version, plural) -> how its objects are stored, checked and shown.

Objects are stored under their storage version. Another served version differs by its `apiVersion` only
(conversion strategy None), which is replaced in the encoded bytes; the two APIs for events share one
storage and do differ, so those are converted. A `Catalogue` keeps one `Resource` per URL and forgets them
when CRDs change the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lateen.api.kinds import Kind, Registry, format_api_version
from lateen.api.schema.definitions import find_schema
from lateen.api.schema.model import Schema
from lateen.cluster.apiserver.events import convert_from_core, convert_to_core
from lateen.cluster.revisions import Key, Revision, encode_document

EVENTS_GROUP = "events.k8s.io"


class Resource:
    """A kind as one version of its group serves it."""

    __slots__ = ("_prefix", "api_version", "kind", "schema", "storage", "version")

    def __init__(self, kind: Kind, version: str, schema: Schema | None) -> None:
        self.kind = kind
        self.version = version
        self.schema = schema
        self.api_version = format_api_version(kind.group, version)
        self.storage = "events" if kind.group == EVENTS_GROUP else kind.qualified_name
        self._prefix = f'{{"apiVersion":"{self.api_version}",'.encode()

    def __repr__(self) -> str:
        return f"Resource({self.kind.plural} of {self.api_version})"

    @property
    def storage_api_version(self) -> str:
        """The `apiVersion` that stored documents carry."""
        return "v1" if self.storage == "events" else self.kind.api_version

    @property
    def converts(self) -> bool:
        """Whether the stored form has other fields than the served one."""
        return self.kind.group == EVENTS_GROUP

    def key(self, namespace: str, name: str) -> Key:
        """Where an object of that name is stored."""
        return Key(self.storage, namespace if self.kind.namespaced else "", name)

    def encode(self, revision: Revision) -> bytes:
        """The object as this version serves it, as JSON."""
        body = revision.body
        if body.startswith(self._prefix):
            return body
        if self.converts:
            return encode_document(self.document(revision))
        return self._prefix + body[body.index(b'",') + 2 :]

    def document(self, revision: Revision) -> dict[str, Any]:
        """The object as this version serves it, decoded."""
        document = revision.document()
        if self.converts:
            return convert_from_core(document)
        document["apiVersion"] = self.api_version
        return document

    def store_form(self, document: dict[str, Any]) -> dict[str, Any]:
        """A document of this version in the form that is stored."""
        if self.converts:
            return convert_to_core(document)
        return document | {"apiVersion": self.storage_api_version}


class Catalogue:
    """The resources behind the URLs of one registry."""

    def __init__(self, registry: Registry, find_custom_schema: Callable[[Kind, str], Schema | None]) -> None:
        self.registry = registry
        self._find_custom_schema = find_custom_schema
        self._resources: dict[tuple[str, str, str], Resource | None] = {}
        self.generation = 0

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource behind `/apis/group/version/plural`."""
        url = (group, version, plural)
        if url not in self._resources:
            kind = self.registry.find(*url)
            if kind is None:
                return None
            self._resources[url] = self._build(kind, version)
        return self._resources[url]

    def find_stored(self, kind: Kind) -> Resource:
        """The resource in its storage version."""
        found = self.find(kind.group, kind.version, kind.plural)
        assert found is not None
        return found

    def _build(self, kind: Kind, version: str) -> Resource:
        schema = find_schema(kind.group, version, kind.kind) if kind.builtin else None
        return Resource(kind, version, schema or self._find_custom_schema(kind, version))

    def forget(self) -> None:
        """The registry changed: find everything anew."""
        self._resources.clear()
        self.generation += 1
