"""Kubernetes' definitions and CRD schemas as OpenAPI documents show them: name -> schema with prose and
references.

`Dialect.V3` refers with `allOf` beside the prose, `Dialect.V2` (Swagger) writes both side by side and knows
no `oneOf`. Only what the given roots reach is included. Source: what kube-apiserver publishes under
`/openapi`; `kubectl explain` and `kubectl apply` read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from lateen.api.kinds import Kind
from lateen.api.schema.definitions import find_definition_name, read_data, read_structure

JsonObject = dict[str, Any]

GROUP_VERSION_KIND = "x-kubernetes-group-version-kind"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
PATCH = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"

#: What Swagger 2 cannot say.
_ONLY_V3 = ("oneOf", "anyOf", "allOf", "not")


class Dialect(Enum):
    """The two OpenAPI versions; the value is where definitions stand in a document."""

    V2 = "#/definitions/"
    V3 = "#/components/schemas/"


class SchemaCollector:
    """The schemas of one OpenAPI document, with everything they refer to."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prose: dict[str, dict[str, str]] = msgspec.json.decode(read_data("descriptions.json.gz"))
        self._schemas: dict[str, JsonObject] = {}
        self._waiting: list[str] = []

    def reference(self, name: str, prose: str = "") -> JsonObject:
        """A reference to a definition, which is then included."""
        self._waiting.append(name)
        target: JsonObject = {"$ref": self._dialect.value + name}
        if not prose:
            return target
        if self._dialect is Dialect.V2:
            return {"description": prose} | target
        return {"description": prose, "default": {}, "allOf": [target]}

    def add_custom(self, kind: Kind, version: str, schema: Mapping[str, Any] | None) -> str:
        """Include a custom kind and its list; the result is the name of its definition."""
        name = ".".join((*reversed(kind.group.split(".")), version, kind.kind))
        content: JsonObject = self._convert_custom(schema) if schema is not None else {"type": "object"}
        meta: JsonObject = {
            "apiVersion": {"description": self._text(OBJECT_META, "apiVersion"), "type": "string"},
            "kind": {"type": "string"},
            "metadata": self.reference(OBJECT_META, "Standard object's metadata."),
        }
        content["properties"] = content.get("properties", {}) | meta
        content[GROUP_VERSION_KIND] = [_identity(kind, version, kind.kind)]
        items = {"type": "array", "items": {"$ref": self._dialect.value + name}}
        self._schemas[name] = content
        self._schemas[name + "List"] = {
            "description": f"{kind.list_kind} is a list of {kind.kind}",
            "type": "object",
            "required": ["items"],
            "properties": meta | {"items": items, "metadata": self.reference(LIST_META, "Standard list metadata.")},
            GROUP_VERSION_KIND: [_identity(kind, version, kind.list_kind)],
        }
        return name

    def _text(self, definition: str, member: str) -> str:
        return self._prose.get(definition, {}).get(member, "")

    def collect(self) -> dict[str, JsonObject]:
        """All schemas asked for and those they reach, by name."""
        while self._waiting:
            name = self._waiting.pop()
            if name not in self._schemas:
                self._schemas[name] = {}
                self._schemas[name] = self._convert(name)
        return dict(sorted(self._schemas.items()))

    def _convert(self, name: str) -> JsonObject:
        structure, prose = read_structure(name), self._prose.get(name, {})
        result = self._convert_node(structure, prose.get("", ""))
        properties = structure.get("properties")
        if properties:
            result["properties"] = {
                member: self._convert_node(child, prose.get(member, "")) for member, child in properties.items()
            }
        return result

    def _convert_node(self, node: JsonObject, prose: str) -> JsonObject:
        if "$ref" in node:
            return self.reference(node["$ref"], prose) | {k: v for k, v in node.items() if k != "$ref"}
        result: JsonObject = {"description": prose} if prose else {}
        for key, value in node.items():
            if key in {"items", "additionalProperties"} and isinstance(value, dict):
                result[key] = self._convert_node(value, "")
            elif key != "properties":
                result[key] = value
        if node.get("x-kubernetes-int-or-string"):
            del result["x-kubernetes-int-or-string"]
            result |= self._either("integer", "string") | {"format": "int-or-string"}
        if node.get("format") == "quantity":
            del result["format"], result["type"]
            result |= self._either("string", "number")
        return result

    def _either(self, one: str, other: str) -> JsonObject:
        if self._dialect is Dialect.V2:
            return {"type": "string"}
        return {"oneOf": [{"type": one}, {"type": other}]}

    def _convert_custom(self, schema: Mapping[str, Any]) -> JsonObject:
        """A CRD's schema; Swagger loses what it cannot say."""
        result = dict(schema)
        if self._dialect is Dialect.V2:
            for key in _ONLY_V3:
                result.pop(key, None)
            if result.pop("nullable", False):
                result.pop("type", None)
        for key in ("items", "additionalProperties"):
            if isinstance(result.get(key), dict):
                result[key] = self._convert_custom(result[key])
        if isinstance(result.get("properties"), dict):
            result["properties"] = {name: self._convert_custom(child) for name, child in result["properties"].items()}
        return result


def _identity(kind: Kind, version: str, name: str) -> JsonObject:
    return {"group": kind.group, "version": version, "kind": name}


def definition_names_of(kind: Kind, version: str) -> tuple[str, str]:
    """The names of the definitions of a built-in kind and of its list; empty where there is none."""
    return (
        find_definition_name(kind.group, version, kind.kind) or "",
        find_definition_name(kind.group, version, kind.list_kind) or "",
    )
