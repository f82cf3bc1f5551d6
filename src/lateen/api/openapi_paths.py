"""The URLs of a kind as OpenAPI `paths`: (kind, version, dialect) -> path -> operations.

kubectl reads from them which kind a resource is, which patches it takes and that the server knows
`fieldValidation`; so each operation says its group, version and kind, its action and its query parameters,
and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lateen.api.kinds import Kind
from lateen.api.openapi_schemas import (
    DELETE_OPTIONS,
    GROUP_VERSION_KIND,
    PATCH,
    STATUS,
    Dialect,
    SchemaCollector,
)
from lateen.api.patch import PATCH_MEDIA_TYPES

JsonObject = dict[str, Any]

_JSON = "application/json"
_YAML = "application/yaml"

#: Query parameter -> JSON type, by what an operation does.
_WRITE = {"dryRun": "string", "fieldManager": "string", "fieldValidation": "string", "pretty": "string"}
_LIST = {
    "labelSelector": "string",
    "fieldSelector": "string",
    "resourceVersion": "string",
    "resourceVersionMatch": "string",
    "limit": "integer",
    "continue": "string",
    "watch": "boolean",
    "allowWatchBookmarks": "boolean",
    "sendInitialEvents": "boolean",
    "timeoutSeconds": "integer",
    "pretty": "string",
}
_DELETE = {
    "dryRun": "string",
    "gracePeriodSeconds": "integer",
    "orphanDependents": "boolean",
    "propagationPolicy": "string",
}

#: verb of the kind -> (HTTP method, stands on the item's path, action in `x-kubernetes-action`, parameters)
_VERBS = {
    "list": ("get", False, "list", _LIST),
    "create": ("post", False, "post", _WRITE),
    "deletecollection": ("delete", False, "deletecollection", _LIST | _DELETE),
    "get": ("get", True, "get", {"pretty": "string"}),
    "update": ("put", True, "put", _WRITE),
    "patch": ("patch", True, "patch", _WRITE | {"force": "boolean"}),
    "delete": ("delete", True, "delete", _DELETE),
}
_NEEDS_BODY = {"post", "put"}
_STATUS_VERBS = ("get", "update", "patch")


class PathBuilder:
    """Builds the paths of one document; schemas they name are collected beside."""

    def __init__(self, dialect: Dialect, schemas: SchemaCollector) -> None:
        self._dialect = dialect
        self._schemas = schemas

    def build(self, kind: Kind, version: str, name: str, list_name: str) -> Iterator[tuple[str, JsonObject]]:
        """Every path of a kind; `name` and `list_name` are those of its definitions, empty for none."""
        root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
        here = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
        operations: dict[str, JsonObject] = {}
        for verb in kind.verbs:
            if verb not in _VERBS:
                continue
            method, on_item, _, _ = _VERBS[verb]
            path = f"{here}/{{name}}" if on_item else here
            operation = self._operation(kind, version, verb, name, list_name)
            operations.setdefault(path, {})[method] = operation
        if kind.namespaced and "list" in kind.verbs:
            operation = self._operation(kind, version, "list", name, list_name)
            operations[f"{root}/{kind.plural}"] = {"get": operation}
        if "status" in kind.subresources:
            operations[f"{here}/{{name}}/status"] = {
                _VERBS[verb][0]: self._operation(kind, version, verb, name, list_name, suffix="Status")
                for verb in _STATUS_VERBS
            }
        for path, methods in operations.items():
            yield path, methods | {"parameters": self._path_parameters(path)}

    def _operation(
        self, kind: Kind, version: str, verb: str, name: str, list_name: str, *, suffix: str = ""
    ) -> JsonObject:
        method, _, action, parameters = _VERBS[verb]
        group = (kind.group.partition(".")[0] or "core").title()
        scope = "Namespaced" if kind.namespaced else ""
        result: JsonObject = {
            "operationId": f"{verb}{group}{version.title()}{scope}{kind.kind}{suffix}",
            "tags": [f"{group.lower()}_{version}"],
            "parameters": [self._parameter(one, shape) for one, shape in sorted(parameters.items())],
            "x-kubernetes-action": action,
            GROUP_VERSION_KIND: {"group": kind.group, "version": version, "kind": kind.kind},
        }
        answer = list_name if verb == "list" else STATUS if method == "delete" else name
        if method in _NEEDS_BODY:
            self._add_body(result, dict.fromkeys((_JSON, _YAML), name))
        elif method == "patch":
            media_types = PATCH_MEDIA_TYPES if kind.builtin else PATCH_MEDIA_TYPES[:2]
            self._add_body(result, dict.fromkeys(media_types, PATCH))
        elif method == "delete":
            self._add_body(result, {_JSON: DELETE_OPTIONS})
        codes = {"post": ("200", "201", "202")}.get(method, ("200",))
        result["responses"] = {code: self._answer(answer) for code in codes}
        if self._dialect is Dialect.V2:
            result["produces"] = [_JSON, _YAML]
        return result

    def _reference(self, name: str) -> JsonObject:
        return self._schemas.reference(name) if name else {"type": "object"}

    def _add_body(self, operation: JsonObject, media_types: dict[str, str]) -> None:
        if self._dialect is Dialect.V2:
            schema = self._reference(next(iter(media_types.values())))
            operation["parameters"].append({"name": "body", "in": "body", "required": True, "schema": schema})
            operation["consumes"] = list(media_types)
        else:
            content = {media: {"schema": self._reference(name)} for media, name in media_types.items()}
            operation["requestBody"] = {"content": content, "required": True}

    def _answer(self, name: str) -> JsonObject:
        if self._dialect is Dialect.V2:
            return {"description": "OK", "schema": self._reference(name)}
        content = {media: {"schema": self._reference(name)} for media in (_JSON, _YAML)}
        return {"description": "OK", "content": content}

    def _parameter(self, name: str, shape: str) -> JsonObject:
        if self._dialect is Dialect.V2:
            return {"name": name, "in": "query", "type": shape, "uniqueItems": True}
        return {"name": name, "in": "query", "schema": {"type": shape, "uniqueItems": True}}

    def _path_parameters(self, path: str) -> list[JsonObject]:
        found = [name for name in ("namespace", "name") if f"{{{name}}}" in path]
        shape: JsonObject = {"type": "string", "uniqueItems": True}
        if self._dialect is Dialect.V2:
            return [{"name": name, "in": "path", "required": True} | shape for name in found]
        return [{"name": name, "in": "path", "required": True, "schema": shape} for name in found]
