"""GET of objects and lists: request -> committed revisions -> response.

A list is consistent at one resource version: the current one, or with `resourceVersionMatch=Exact` and in
the pages that follow a `continue` token an earlier one, as long as its history is kept. Source: the
Kubernetes page "API Concepts", sections on resource versions and on retrieving large results in chunks.
"""

from __future__ import annotations

import base64
import time
from typing import Any

import msgspec
from aiohttp import web

from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.response import respond_list, respond_object
from lateen.cluster.apiserver.selection import Selection, parse_selection
from lateen.cluster.apiserver.status import bad_request, expired, not_found, version_too_large
from lateen.cluster.revisions import Revision
from lateen.cluster.store import CompactedError, Store

_WAIT_SECONDS = 3.0
"""How long a read waits for a version that is not there yet, as kube-apiserver's cache does."""


class Page(msgspec.Struct, frozen=True):
    """A `continue` token: the version of the first page and where the next one starts."""

    version: int
    namespace: str
    name: str


class Reader:
    """Answers get and list."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, request: Request, resource: Resource) -> web.Response:
        """One object."""
        target = request.target
        await self.catch_up(request, resource)
        revision = self._store.get(resource.key(target.namespace, target.name))
        if revision is None:
            raise not_found(resource.kind, target.name)
        return respond_object(request, resource, revision)

    async def list_objects(self, request: Request, resource: Resource) -> web.Response:
        """The objects of a namespace or of all, chosen by selectors, whole or in pages."""
        selection = parse_selection(request, resource)
        await self.catch_up(request, resource)
        limit = request.number("limit") or 0
        page = _decode_page(request.query["continue"]) if request.query.get("continue") else None
        version = page.version if page else self._choose_version(request)
        revisions = self._select(selection, version)
        if page is not None:
            revisions = [r for r in revisions if (r.key.namespace, r.key.name) >= (page.namespace, page.name)]
        rest = revisions[limit:] if limit > 0 else []
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if rest:
            key = rest[0].key
            metadata["continue"] = _encode_page(Page(version, key.namespace, key.name))
            if selection.everything:
                metadata["remainingItemCount"] = len(rest)
            revisions = revisions[:limit]
        return await respond_list(request, resource, revisions, metadata)

    async def catch_up(self, request: Request, resource: Resource) -> None:
        """Wait a little for the version that the client has seen elsewhere; StatusError 504 if it does not
        come.
        """
        wanted = _parse_version(request)
        if wanted <= self._store.version:
            return
        watch = self._store.watch(resource.storage, self._store.version)
        deadline = time.monotonic() + _WAIT_SECONDS
        try:
            while wanted > self._store.version:
                if not await watch.wait(deadline - time.monotonic()):
                    raise version_too_large(wanted, self._store.version)
                watch.take()
        finally:
            watch.close()

    def _choose_version(self, request: Request) -> int:
        match request.query.get("resourceVersionMatch", ""):
            case "" | "NotOlderThan":
                return self._store.version
            case "Exact":
                if not (version := _parse_version(request)):
                    raise bad_request("resourceVersionMatch Exact is forbidden without a resourceVersion above 0")
                return version
            case other:
                raise bad_request(f'resourceVersionMatch: Unsupported value: "{other}"')

    def _select(self, selection: Selection, version: int) -> list[Revision]:
        resource, namespace = selection.resource, selection.namespace
        if (
            selection.name is not None
            and version == self._store.version
            and (namespace or not resource.kind.namespaced)
        ):
            revision = self._store.get(resource.key(namespace, selection.name))
            return [revision] if revision is not None and selection.matches(revision) else []
        try:
            revisions = self._store.list_objects(resource.storage, namespace, at=version)
        except CompactedError as error:
            raise expired(f"The provided continue parameter or version is too old: {error.message}") from None
        return revisions if selection.everything else [r for r in revisions if selection.matches(r)]


def _parse_version(request: Request) -> int:
    text = request.query.get("resourceVersion") or "0"
    if not text.isdigit():
        raise bad_request(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: invalid syntax')
    return int(text)


def _encode_page(page: Page) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(page)).decode()


def _decode_page(text: str) -> Page:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Page)
    except (ValueError, msgspec.MsgspecError):
        raise bad_request("continue key is not valid") from None
