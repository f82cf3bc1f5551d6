"""What `/openapi` answers: kinds -> the v3 index, one v3 document a group version, and one Swagger 2
document of all.

    index()                 -> {"paths": {"apis/apps/v1": {"serverRelativeURL": "...?hash=..."}}}
    find_v3("apis/apps/v1") -> Published, None for a path without kinds
    v2()                    -> Published

Documents are built when first asked for and kept gzipped. Hashes depend on kinds and schemas only, so they
are known without building and equal after a restart. kubectl >= 1.31 reads the v3 JSON for `explain`,
`apply` and field validation; where it asks for the Swagger document it takes protobuf only and goes on
without it when refused, so JSON is all there is.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from lateen.api.kinds import Kind
from lateen.api.openapi_paths import PathBuilder
from lateen.api.openapi_schemas import Dialect, SchemaCollector, definition_names_of
from lateen.api.schema.definitions import read_data

JsonObject = dict[str, Any]
FindSchema = Callable[[Kind, str], Mapping[str, Any] | None]

_INFO = {"title": "Kubernetes", "version": "v1.34.0"}


class Published(msgspec.Struct, frozen=True):
    """One document as it goes over the wire; `etag` is its hash, without quotes."""

    gzipped: bytes
    etag: str

    @property
    def body(self) -> bytes:
        """The JSON for a client that takes no gzip."""
        return gzip.decompress(self.gzipped)


@cache
def _data_digest() -> bytes:
    data = b"".join(hashlib.sha256(read_data(name)).digest() for name in ("structures.json.gz", "descriptions.json.gz"))
    return hashlib.sha256(data).digest()


class OpenApi:
    """The OpenAPI documents of a set of kinds; make another one when the set changes.

    `find_custom_schema(kind, version)` gives the `openAPIV3Schema` of a custom kind as it stands in its CRD.
    """

    def __init__(self, kinds: Iterable[Kind], find_custom_schema: FindSchema) -> None:
        self._find_custom_schema = find_custom_schema
        self._groups: dict[str, list[tuple[Kind, str]]] = {}
        for kind in kinds:
            for version in kind.served_versions:
                path = f"apis/{kind.group}/{version}" if kind.group else f"api/{version}"
                self._groups.setdefault(path, []).append((kind, version))
        self._published: dict[str, Published] = {}
        self._hashes: dict[str, str] = {}

    def index(self) -> JsonObject:
        """The answer to `/openapi/v3`."""
        return {
            "paths": {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._hash(path)}"}
                for path in sorted(self._groups)
            }
        }

    def find_v3(self, path: str) -> Published | None:
        """The document of a group version, `path` as in the index; None when nothing is served there."""
        members = self._groups.get(path)
        if members is None:
            return None
        if path not in self._published:
            self._published[path] = self._publish(members, Dialect.V3, self._hash(path))
        return self._published[path]

    def v2(self) -> Published:
        """The answer to `/openapi/v2`."""
        if "" not in self._published:
            members = [member for group in self._groups.values() for member in group]
            etag = hashlib.sha256("".join(map(self._hash, sorted(self._groups))).encode()).hexdigest()
            self._published[""] = self._publish(members, Dialect.V2, etag)
        return self._published[""]

    def _hash(self, path: str) -> str:
        """A hash of everything that the document is made of."""
        if path not in self._hashes:
            digest = hashlib.sha512(_data_digest())
            for kind, version in self._groups[path]:
                schema = None if kind.builtin else self._find_custom_schema(kind, version)
                digest.update(msgspec.json.encode((kind.plural, version, sorted(kind.subresources), kind.verbs)))
                digest.update(msgspec.json.encode(schema, order="deterministic"))
            self._hashes[path] = digest.hexdigest().upper()
        return self._hashes[path]

    def _publish(self, members: list[tuple[Kind, str]], dialect: Dialect, etag: str) -> Published:
        schemas = SchemaCollector(dialect)
        builder = PathBuilder(dialect, schemas)
        paths: JsonObject = {}
        for kind, version in members:
            name, list_name = definition_names_of(kind, version) if kind.builtin else ("", "")
            if not kind.builtin:
                name = schemas.add_custom(kind, version, self._find_custom_schema(kind, version))
                list_name = name + "List"
            paths.update(builder.build(kind, version, name, list_name))
        paths = dict(sorted(paths.items()))
        document: JsonObject
        if dialect is Dialect.V2:
            document = {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": schemas.collect()}
        else:
            components = {"schemas": schemas.collect()}
            document = {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": components}
        return Published(gzip.compress(msgspec.json.encode(document), compresslevel=6, mtime=0), etag)
