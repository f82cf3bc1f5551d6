"""Watches: position in the store's history -> a stream of JSON lines, until the client goes or the time is up.

Events leave as the bytes that were stored, wrapped; only selectors, Tables and bare metadata decode them.
An object that begins or ceases to match the selectors is shown as ADDED or DELETED. A watch without a
version starts with the present objects; with `sendInitialEvents` a bookmark marks their end.

Invariants: every event of the selection after the start, once and in order; a reader that falls behind the
history is told 410 and hung up on. Source: the Kubernetes page "API Concepts", sections on watches,
bookmarks, streaming lists.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from lateen.api.schema.errors import forbidden
from lateen.cluster.apiserver.negotiation import Form, negotiate
from lateen.cluster.apiserver.reading import Reader
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.response import add_warnings, shape
from lateen.cluster.apiserver.selection import Selection, parse_selection
from lateen.cluster.apiserver.status import expired, invalid
from lateen.cluster.revisions import Event, Revision, encode_document
from lateen.cluster.store import CompactedError, Store, Watch

_BOOKMARK_SECONDS = 60.0
_SHORTEST_SECONDS = 1800
"""A watch without `timeoutSeconds` lasts this long, up to twice as long, so that clients do not return
together.
"""

_EVENTS_PER_WRITE = 500
_ENCODER = msgspec.json.Encoder()


class Watcher:
    """Answers watches; `close` ends them all."""

    def __init__(self, store: Store, reader: Reader) -> None:
        self._store = store
        self._reader = reader
        self._open: set[Watch] = set()
        self._closing = False

    def close(self) -> None:
        """End every watch, so that clients reconnect elsewhere."""
        self._closing = True
        for watch in self._open:
            watch.wake()

    async def watch(self, request: Request, resource: Resource) -> web.StreamResponse:
        """Stream the events of a selection."""
        selection = parse_selection(request, resource)
        stream = EventStream(request, selection)
        initial = _wants_initial_events(request, resource)
        await self._reader.catch_up(request, resource)
        version = int(request.query.get("resourceVersion") or "0")
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        add_warnings(request, response)
        await response.prepare(request.http)
        watch = self._store.watch(resource.storage, version)
        self._open.add(watch)
        try:
            if initial or version == 0:
                await self._send_present(response, stream, watch, bookmark=initial)
            await self._follow(request, response, stream, watch)
        except CompactedError as error:
            await response.write(stream.encode_error(error))
        finally:
            self._open.discard(watch)
            watch.close()
        return response

    async def _send_present(
        self, response: web.StreamResponse, stream: EventStream, watch: Watch, *, bookmark: bool
    ) -> None:
        selection = stream.selection
        watch.version = self._store.version
        revisions = self._store.list_objects(watch.resource, selection.namespace)
        chosen = [revision for revision in revisions if selection.matches(revision)]
        for start in range(0, len(chosen), _EVENTS_PER_WRITE):
            part = chosen[start : start + _EVENTS_PER_WRITE]
            await response.write(b"".join(stream.encode("ADDED", revision) for revision in part))
        if bookmark:
            await response.write(stream.encode_bookmark(watch.version, initial_events_end=True))

    async def _follow(self, request: Request, response: web.StreamResponse, stream: EventStream, watch: Watch) -> None:
        seconds = request.number("timeoutSeconds") or random.randint(_SHORTEST_SECONDS, 2 * _SHORTEST_SECONDS)
        deadline = time.monotonic() + seconds
        bookmarks = request.flag("allowWatchBookmarks")
        changed = True
        while not self._closing:
            events = watch.take()
            for start in range(0, len(events), _EVENTS_PER_WRITE):
                if part := stream.encode_events(events[start : start + _EVENTS_PER_WRITE]):
                    await response.write(part)
            if not changed and bookmarks:
                await response.write(stream.encode_bookmark(watch.version))
            if not changed and deadline <= time.monotonic():
                return
            changed = await watch.wait(min(deadline - time.monotonic(), _BOOKMARK_SECONDS))


class EventStream:
    """Encodes the events of one watch in the form that its client asked for."""

    def __init__(self, request: Request, selection: Selection) -> None:
        self.selection = selection
        self._request = request
        self._resource = selection.resource
        self._form: Form = negotiate(request.http.headers.get("Accept", ""), streaming=True)
        self._columns_sent = False

    def encode_events(self, events: Iterable[Event]) -> bytes:
        """Those of the events that concern the selection, one JSON object per line."""
        if self.selection.everything:
            namespace = self.selection.namespace
            return b"".join(
                self.encode(event.type, event.revision)
                for event in events
                if not namespace or event.revision.key.namespace == namespace
            )
        return b"".join(self._encode_selected(event) for event in events)

    def _encode_selected(self, event: Event) -> bytes:
        matches = self.selection.matches
        before = event.previous is not None and matches(event.previous)
        if event.revision.deleted:
            return self.encode("DELETED", event.revision) if before else b""
        if matches(event.revision):
            return self.encode("MODIFIED" if before else "ADDED", event.revision)
        if not before or event.previous is None:
            return b""
        document = event.previous.document()
        document["metadata"]["resourceVersion"] = str(event.revision.version)
        gone = Revision(event.revision.key, event.revision.version, encode_document(document), deleted=True)
        return self.encode("DELETED", gone)

    def encode(self, event_type: str, revision: Revision) -> bytes:
        """One event as a line."""
        if not self._form.as_kind:
            return b'{"type":"%b","object":%b}\n' % (event_type.encode(), self._resource.encode(revision))
        value = shape(self._form, self._resource, [self._resource.document(revision)], self._request)
        if self._form.as_kind == "Table":
            value["metadata"] = {"resourceVersion": str(revision.version)}
            if self._columns_sent:
                value["columnDefinitions"] = None
            self._columns_sent = True
        else:
            value = value["items"][0]
        return _line(event_type, value)

    def encode_bookmark(self, version: int, *, initial_events_end: bool = False) -> bytes:
        """A bookmark: the client has seen everything up to this version."""
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if initial_events_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        kind, api_version = self._resource.kind.kind, self._resource.api_version
        if self._form.as_kind:
            kind, api_version = self._form.as_kind, f"{self._form.group}/{self._form.version}"
        value: dict[str, Any] = {"kind": kind, "apiVersion": api_version, "metadata": metadata}
        if kind == "Table":
            value |= {"columnDefinitions": [], "rows": []}
        return _line("BOOKMARK", value)

    def encode_error(self, error: CompactedError) -> bytes:
        """The end of a watch whose history is gone."""
        return _line("ERROR", expired(error.message).build_status())


def _line(event_type: str, value: dict[str, Any]) -> bytes:
    return _ENCODER.encode({"type": event_type, "object": value}) + b"\n"


def _wants_initial_events(request: Request, resource: Resource) -> bool:
    match = request.query.get("resourceVersionMatch", "")
    wanted = "sendInitialEvents" in request.query
    if match and not wanted:
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    elif wanted and match != "NotOlderThan":
        text = 'sendInitialEvents requires setting resourceVersionMatch to "NotOlderThan"'
    else:
        return request.flag("sendInitialEvents")
    raise invalid(resource.kind, "", [forbidden("resourceVersionMatch", text)])
