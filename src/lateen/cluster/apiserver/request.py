"""What a request asks for: method and URL -> `Target`, headers and body -> options and documents.

`/apis/apps/v1/namespaces/shop/deployments/web/scale` -> verb, group, version, namespace, resource, name,
subresource. Bodies are JSON, YAML, or for built-in kinds protobuf, as kube-apiserver accepts them; answers are JSON.

Invariants: a body is read up to `BODY_BYTES` and nested up to `BODY_DEPTH`, whatever its headers claim.
Source: the Kubernetes page "API Concepts" and apiserver's `RequestInfo`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from lateen.api.schema.wire import MEDIA_TYPE, WireError
from lateen.api.schema.wire import decode_object as decode_wire_object
from lateen.base.diagnostics import Level
from lateen.cluster.apiserver.authentication import User
from lateen.cluster.apiserver.duplicates import find_duplicates
from lateen.cluster.apiserver.status import bad_request, too_large, unsupported_media_type

BODY_BYTES = 3 << 20
BODY_DEPTH = 200
"""Limits of a request's body; etcd and apimachinery have the same order of size."""

JSON = "application/json"
YAML = "application/yaml"

_OBJECT_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class Target:
    """The resource that a URL names; `resource` is empty for paths outside the API groups' resources."""

    path: str
    verb: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse_target(method: str, path: str, query: Mapping[str, str]) -> Target:
    """The target of a request; a path that names no resource has the method as its verb."""
    parts = [unquote(part) for part in path.split("/")[1:]]
    if parts and not parts[-1]:
        parts.pop()
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Target(path, method.lower())
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and (len(rest) > 3 or rest[2] not in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    verb = (_OBJECT_VERBS if name else _COLLECTION_VERBS).get(method, method.lower())
    if verb in ("get", "list") and len(rest) <= 2 and _is_true(query.get("watch")):
        verb = "watch"
    return Target(
        path,
        verb,
        group,
        version,
        namespace,
        rest[0],
        name,
        rest[2] if len(rest) > 2 else "",
        "/".join(rest[3:]),
    )


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in ("1", "true", "t", "")


@dataclass(slots=True)
class Request:
    """One request on its way through the server; `warnings` become headers of the response."""

    http: web.BaseRequest
    query: Mapping[str, str]
    target: Target
    user: User
    warnings: list[str] = field(default_factory=list)
    repeated_fields: list[str] = field(default_factory=list)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.http.method

    def flag(self, name: str) -> bool:
        """Whether a query parameter says true."""
        return name in self.query and _is_true(self.query[name])

    def number(self, name: str) -> int | None:
        """A query parameter as a whole number, None without it."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise bad_request(f'invalid value for {name}: "{text}" is not a whole number') from None

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be stored."""
        value = self.query.get("dryRun", "")
        if value not in ("", "All"):
            raise bad_request(f'Invalid value: "{value}": dryRun: supported values: "All"')
        return value == "All"

    @property
    def media_type(self) -> str:
        """The body's Content-Type without parameters."""
        return self.http.headers.get("Content-Type", JSON).partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """The body; StatusError 413 if it is larger than `BODY_BYTES`."""
        if not self.http.body_exists:
            return b""
        if (self.http.content_length or 0) > BODY_BYTES:
            raise too_large(BODY_BYTES)
        chunks: list[bytes] = []
        size = 0
        while chunk := await self.http.content.readany():
            size += len(chunk)
            if size > BODY_BYTES:
                raise too_large(BODY_BYTES)
            chunks.append(chunk)
        return b"".join(chunks)

    async def document(self) -> dict[str, Any]:
        """The body as one JSON object, which may be written in YAML; StatusError 400 or 415 otherwise."""
        media_type = self.media_type
        if media_type not in (JSON, YAML, MEDIA_TYPE):
            raise unsupported_media_type((JSON, YAML, MEDIA_TYPE))
        body = await self.read()
        if media_type == MEDIA_TYPE:
            return decode_protobuf(body)
        if media_type == YAML:
            return await asyncio.to_thread(decode_yaml, body)
        document = decode_object(body)
        if self.query.get("fieldValidation") != "Ignore":
            self.repeated_fields = find_duplicates(body)
        return document


def parse_query(text: str) -> dict[str, str]:
    """Query parameters; of one that is repeated the first counts."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        query.setdefault(name, value)
    return query


def decode_json(body: bytes) -> Any:
    """Any JSON value within the depth that is allowed."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
    except RecursionError:
        raise bad_request(f"exceeded max depth of {BODY_DEPTH}") from None
    if (body.count(b"{") + body.count(b"[")) > BODY_DEPTH:
        check_depth(value)
    return value


def decode_object(body: bytes) -> dict[str, Any]:
    """A JSON object."""
    value = decode_json(body)
    if not isinstance(value, dict):
        raise bad_request("couldn't get version/kind; json parse error: the body is no JSON object")
    return value


def decode_protobuf(body: bytes) -> dict[str, Any]:
    """A built-in object in Kubernetes' protobuf form."""
    try:
        return decode_wire_object(body)
    except WireError as error:
        raise bad_request(f"couldn't decode the object: {error}") from None


def decode_yaml(body: bytes) -> dict[str, Any]:
    """A YAML document as JSON values; scalars are read as kubectl reads them."""
    from lateen.api.yaml_loader import load_plain

    loaded = load_plain(body, "request body")
    errors = [diagnostic.message for diagnostic in loaded.diagnostics if diagnostic.level is Level.ERROR]
    if errors or len(loaded.documents) != 1:
        raise bad_request(f"error converting YAML to JSON: {errors[0] if errors else 'expected one document'}")
    return loaded.documents[0].object


def check_depth(value: Any) -> None:
    """Refuse values that are nested more deeply than `BODY_DEPTH`."""
    level = [value]
    for _ in range(BODY_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise bad_request(f"exceeded max depth of {BODY_DEPTH}")
