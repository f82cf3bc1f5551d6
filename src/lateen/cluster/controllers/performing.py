"""Actions -> requests to the API server: the only file of the controllers that does I/O besides the loop.

What somebody else has done already is no failure: to create what is there, to delete what is gone, to write into a
namespace that is going.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, ObjectKey, name_of, uid_of
from lateen.base.errors import NotFoundError, UnavailableError
from lateen.cluster.controllers.actions import Action, Create, Delete, Empty, Update
from lateen.cluster.controllers.namespaces import finish_namespace
from lateen.cluster.controllers.state import NAMESPACE, State
from lateen.kube.client import Client
from lateen.kube.discovery import discover
from lateen.kube.errors import ApiConflictError, ApiForbiddenError, ApiNotFoundError

_REQUESTS_AT_ONCE = 8


class Performer:
    """Does what controllers want and puts the outcome into their state."""

    def __init__(self, client: Client, state: State) -> None:
        self._client = client
        self._state = state

    async def perform(self, actions: Iterable[Action]) -> None:
        """Do all in order; UnavailableError or ApiConflictError when it should be tried again."""
        for action in actions:
            match action:
                case Create(kind, document):
                    await self._create(kind, document)
                case Update(kind, document, subresource):
                    await self._update(kind, document, subresource)
                case Delete(kind, namespace, name, uid, now):
                    await self._delete(kind, ObjectKey(namespace, name), uid, now=now)
                case Empty(namespace):
                    await self._empty(namespace)

    async def _create(self, kind: Kind, document: JsonObject) -> None:
        try:
            self._state.put(kind, await self._client.create(kind, document))
        except ApiConflictError:
            return
        except (ApiForbiddenError, ApiNotFoundError) as error:
            causes = error.details.get("causes") or ()
            if isinstance(error, ApiForbiddenError) and not any(
                cause.get("reason") == "NamespaceTerminating" for cause in causes
            ):
                raise

    async def _update(self, kind: Kind, document: JsonObject, subresource: str) -> None:
        try:
            self._state.put(kind, await self._client.update(kind, document, subresource=subresource))
        except NotFoundError:
            return

    async def _delete(self, kind: Kind, key: ObjectKey, uid: str, *, now: bool) -> None:
        try:
            await self._client.delete(kind, *key, uid=uid, grace_period_seconds=0 if now else None)
        except (ApiNotFoundError, ApiConflictError):
            return

    async def _empty(self, namespace: str) -> None:
        kinds = [kind for kind in await discover(self._client) if kind.namespaced and "delete" in kind.verbs]
        there = await self._list_all(kinds, namespace)
        await _for_each(there, lambda kind: self._delete_all(kind, namespace, there[kind]))
        left = await self._list_all(there, namespace)
        document = self._state.find(NAMESPACE, "", namespace)
        if document is None:
            return
        remaining = {kind.qualified_name: len(objects) for kind, objects in left.items()}
        await self.perform(finish_namespace(document, remaining))
        if remaining:
            raise UnavailableError(f"namespace {namespace} still holds {', '.join(sorted(remaining))}")

    async def _delete_all(self, kind: Kind, namespace: str, objects: list[JsonObject]) -> None:
        if "deletecollection" in kind.verbs:
            await self._client.delete_collection(kind, namespace)
            return
        for found in objects:
            await self._delete(kind, ObjectKey(namespace, name_of(found)), uid_of(found), now=False)

    async def _list_all(self, kinds: Iterable[Kind], namespace: str) -> dict[Kind, list[JsonObject]]:
        found: dict[Kind, list[JsonObject]] = {}

        async def read(kind: Kind) -> None:
            try:
                objects = (await self._client.list(kind, namespace)).items
            except ApiNotFoundError:  # a kind that is no longer served
                return
            if objects:
                found[kind] = objects

        await _for_each(kinds, read)
        return found


async def _for_each(kinds: Iterable[Kind], work: Callable[[Kind], Awaitable[None]]) -> None:
    """Do the work for all kinds, some at once; raises what the first failure raised, when all have ended."""
    limit = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def run(kind: Kind) -> None:
        async with limit:
            await work(kind)

    outcomes = await asyncio.gather(*map(run, kinds), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
