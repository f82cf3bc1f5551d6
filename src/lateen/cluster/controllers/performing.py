"""Actions -> requests to the API server: the only file of the controllers that does I/O besides the loop.

What somebody else has done already is no failure: to create what is there, to delete what is gone, to write into a
namespace that is going.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, ObjectKey, is_terminating, key_of, name_of, uid_of
from lateen.base.errors import LateenError, NotFoundError, UnavailableError
from lateen.cluster.controllers.actions import Action, Create, Delete, Empty, LookAgain, Patch, Report, Update
from lateen.cluster.controllers.events import build_event
from lateen.cluster.controllers.namespaces import finish_namespace
from lateen.cluster.controllers.pod_states import format_time
from lateen.cluster.controllers.state import EVENT, NAMESPACE, State
from lateen.kube.client import Client
from lateen.kube.discovery import discover
from lateen.kube.errors import ApiConflictError, ApiForbiddenError, ApiNotFoundError
from lateen.runtime.logging import get_logger

log = get_logger("controllers")

_REQUESTS_AT_ONCE = 8


class Performer:
    """Does what controllers want and puts the outcome into their state."""

    def __init__(self, client: Client, state: State) -> None:
        self._client = client
        self._state = state
        self._serials = itertools.count(time.time_ns() >> 10)

    async def perform(self, actions: Iterable[Action]) -> None:
        """Do all in order; UnavailableError or ApiConflictError when it should be tried again."""
        for action in actions:
            match action:
                case Create(kind, document, report):
                    created = await self._create(kind, document)
                    if created is not None and report is not None:
                        await self._report(report, name_of(created))
                case Update(kind, document, subresource):
                    await self._update(kind, document, subresource)
                case Patch(kind, namespace, name, patch):
                    await self._patch(kind, ObjectKey(namespace, name), patch)
                case Delete(kind, namespace, name):
                    await self._delete(action)
                case Empty(namespace):
                    await self._empty(namespace)
                case Report():
                    await self._report(action, name_of(action.document))
                case LookAgain():
                    raise AssertionError("the loop's to keep")

    async def _create(self, kind: Kind, document: JsonObject) -> JsonObject | None:
        try:
            created = await self._client.create(kind, document)
        except ApiConflictError:
            return None
        except (ApiForbiddenError, ApiNotFoundError) as error:
            causes = error.details.get("causes") or ()
            if isinstance(error, ApiForbiddenError) and not any(
                cause.get("reason") == "NamespaceTerminating" for cause in causes
            ):
                raise
            return None
        self._state.put(kind, created)
        return created

    async def _update(self, kind: Kind, document: JsonObject, subresource: str) -> None:
        try:
            self._state.put(kind, await self._client.update(kind, document, subresource=subresource))
        except NotFoundError:
            self._forget(kind, key_of(document), uid_of(document))

    def _forget(self, kind: Kind, key: ObjectKey, uid: str) -> None:
        known = self._state.find(kind, *key)
        if known is not None and uid_of(known) == uid:
            self._state.remove(kind, key)

    async def _patch(self, kind: Kind, key: ObjectKey, patch: JsonObject) -> None:
        try:
            self._state.put(kind, await self._client.patch(kind, *key, patch))
        except NotFoundError:
            return

    async def _delete(self, delete: Delete) -> None:
        key = ObjectKey(delete.namespace, delete.name)
        grace, propagation = 0 if delete.now else None, delete.propagation
        try:
            left = await self._client.delete(
                delete.kind, *key, uid=delete.uid, grace_period_seconds=grace, propagation=propagation
            )
        except (ApiNotFoundError, ApiConflictError):
            self._forget(delete.kind, key, delete.uid)
            return
        if uid_of(left) == delete.uid:  # an object, no Status: it is known at once that it ends
            if not is_terminating(left):
                left["metadata"]["deletionTimestamp"] = format_time(datetime.now(UTC))
            self._state.put(delete.kind, left)

    async def _report(self, report: Report, name: str) -> None:
        event = build_event(report, name=name, serial=next(self._serials), now=datetime.now(UTC))
        try:
            await self._client.create(EVENT, event)
        except LateenError as error:  # what is done counts, not that it is told
            log.debug("event not written", reason=report.reason, error=error.message)

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
            await self._delete(Delete(kind, namespace, name_of(found), uid_of(found)))

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
