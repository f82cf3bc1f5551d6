"""A Kubernetes API client, as thin as can be: kind and name -> path, JSON documents in and out.

Documents are plain JSON dicts. Kinds come from the registry of `lateen.api.kinds`; their stored version is
asked for. Errors are those of `lateen.kube.errors`, or UnavailableError when the server cannot be reached.
Source: the Kubernetes API concepts page (verbs, chunked lists, watch, bookmarks). Where we differ from
client-go: no protobuf, no rate limit of our own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self
from urllib.parse import quote

import msgspec

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, key_of
from lateen.base.errors import UnavailableError
from lateen.kube.config import ClientConfig
from lateen.kube.errors import build_error
from lateen.kube.transport import Transport, split_lines

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

PatchType = Literal["json", "merge", "strategic", "apply"]
_PATCH_TYPES: dict[PatchType, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}

#: Objects per page of a list, as client-go asks.
_PAGE_OBJECTS = 500
#: How long the server keeps a watch open, and how much longer silence is taken for a dead peer.
_WATCH_SECONDS = 300
_SILENCE_SECONDS = 30


class ObjectList(NamedTuple):
    """A list as of one resource version."""

    items: list[JsonObject]
    resource_version: str


class WatchEvent(NamedTuple):
    """ADDED, MODIFIED, DELETED, or BOOKMARK, whose object has a resource version only."""

    type: str
    object: JsonObject


def format_path(kind: Kind, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of a collection, an object or its subresource; an empty namespace means all of them."""
    parts = ["apis", kind.group, kind.version] if kind.group else ["api", kind.version]
    if kind.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts += [kind.plural, *filter(None, (name, subresource))]
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """One identity on one server; use it as an async context manager or close it."""

    def __init__(self, config: ClientConfig, *, user_agent: str = "lateen") -> None:
        self.config = config
        self._transport = Transport(config, user_agent=user_agent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def get(self, kind: Kind, namespace: str, name: str, *, subresource: str = "") -> JsonObject:
        """The object."""
        return await self._json("GET", format_path(kind, namespace, name, subresource))

    async def list(
        self, kind: Kind, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList:
        """Every object, each with `apiVersion` and `kind` (lists leave them out), read page by page."""
        params = _build_params(labelSelector=label_selector, fieldSelector=field_selector, limit=_PAGE_OBJECTS)
        items: list[JsonObject] = []
        while True:
            page = await self._json("GET", format_path(kind, namespace), params=params)
            items += page.get("items") or ()
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                break
            params["continue"] = metadata["continue"]
        for item in items:
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return ObjectList(items, metadata.get("resourceVersion") or "")

    async def create(
        self,
        kind: Kind,
        document: JsonObject,
        *,
        namespace: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """The object as stored; also how reviews are asked."""
        path = format_path(kind, key_of(document).namespace if namespace is None else namespace)
        return await self._json("POST", path, document, params=params)

    async def update(
        self,
        kind: Kind,
        document: JsonObject,
        *,
        subresource: str = "",
        params: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """The object as stored; ApiConflictError when it changed since it was read."""
        path = format_path(kind, *key_of(document), subresource)
        return await self._json("PUT", path, document, params=params)

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: JsonObject | Sequence[JsonObject],
        *,
        type: PatchType = "merge",
        subresource: str = "",
        params: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """The object as stored; `apply` needs the parameter `fieldManager`."""
        path = format_path(kind, namespace, name, subresource)
        return await self._json("PATCH", path, patch, params=params, content_type=_PATCH_TYPES[type])

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        propagation: str | None = None,
    ) -> JsonObject:
        """The object as it was, or a Status; with `uid`, ApiConflictError when it is another by now."""
        options: JsonObject = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if propagation is not None:
            options["propagationPolicy"] = propagation
        return await self._json("DELETE", format_path(kind, namespace, name), options)

    async def delete_collection(self, kind: Kind, namespace: str, *, label_selector: str = "") -> JsonObject:
        """Delete every object of the kind in the namespace."""
        params = _build_params(labelSelector=label_selector)
        return await self._json("DELETE", format_path(kind, namespace), params=params)

    async def post_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, document: JsonObject
    ) -> JsonObject:
        """What the subresource answers: a token, a binding, an eviction."""
        return await self._json("POST", format_path(kind, namespace, name, subresource), document)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """The bytes that the server answers to a request of any shape."""
        return await self._transport.request(
            method, path, params=params, body=body, content_type=content_type, accept=accept
        )

    async def stream(self, path: str, *, params: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """Chunks as they come, for instance of a pod's log."""
        async with self._transport.stream(path, params=params) as chunks:
            async for chunk in chunks:
                yield chunk

    @asynccontextmanager
    async def websocket(
        self, path: str, *, params: Sequence[tuple[str, str]], protocols: tuple[str, ...]
    ) -> AsyncIterator[ClientWebSocketResponse]:
        """A WebSocket to a streaming subresource such as `pods/exec`."""
        async with self._transport.websocket(path, params=params, protocols=protocols) as socket:
            yield socket

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Events one by one; ends when the server closes the watch, as it does every few minutes."""
        batches = self.watch_batches(
            kind,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        async with aclosing(batches):
            async for batch in batches:
                for event in batch:
                    yield event

    async def watch_batches(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[tuple[WatchEvent, ...], None]:
        """Events in order, those that arrived together in one batch; ApiGoneError when the version is too old."""
        params = _build_params(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=_WATCH_SECONDS,
        )
        buffer = bytearray()
        silence = _WATCH_SECONDS + _SILENCE_SECONDS
        path = format_path(kind, namespace)
        async with self._transport.stream(path, params=params, read_seconds=silence) as chunks:
            async for chunk in chunks:
                if batch := tuple(_decode_event(line) for line in split_lines(buffer, chunk) if line.strip()):
                    yield batch

    async def _json(
        self,
        method: str,
        path: str,
        document: JsonObject | Sequence[JsonObject] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        body = None if document is None else msgspec.json.encode(document)
        content = await self._transport.request(method, path, params=params, body=body, content_type=content_type)
        answer: JsonObject = _decode(content)
        return answer


def _build_params(**values: str | int) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value != ""}


def _decode(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise UnavailableError(f"the API server answered no JSON: {error}") from error


def _decode_event(line: bytes) -> WatchEvent:
    event = _decode(line)
    if event["type"] == "ERROR":
        raise build_error(event["object"])
    return WatchEvent(event["type"], event["object"])
