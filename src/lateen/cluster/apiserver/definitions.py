"""The life of CustomResourceDefinitions: stored -> served; deleted -> objects deleted -> gone.

The steps of `hooks.Hook` for definitions. Deletion runs in the background: the definition stays, marked,
while its objects go, those with finalizers last, and is resumed after a restart. Source: Kubernetes' CRD
finalizer controller.
"""

from __future__ import annotations

import asyncio
from typing import Any

from lateen.api.schema.errors import FieldError
from lateen.cluster.apiserver.custom_resources import CRDS, FINALIZER, CustomResources, check_definition
from lateen.cluster.apiserver.resource import Catalogue
from lateen.cluster.apiserver.termination import is_held, mark_deleted
from lateen.cluster.revisions import Key
from lateen.cluster.store import Store, WrongVersionError

_CHECK_SECONDS = 30.0

Document = dict[str, Any]


class DefinitionHook:
    """Keeps the served kinds equal to the stored definitions."""

    def __init__(self, store: Store, custom: CustomResources, catalogue: Catalogue) -> None:
        self._store = store
        self._custom = custom
        self._catalogue = catalogue
        self._cleanups: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Go on with the deletions that were under way when the server stopped."""
        for revision in self._store.list_objects(CRDS):
            if revision.document()["metadata"].get("deletionTimestamp"):
                self._begin_cleanup(revision.key.name)

    async def close(self) -> None:
        """Stop the deletions under way; `resume` goes on."""
        for task in self._cleanups.values():
            task.cancel()
        await asyncio.gather(*self._cleanups.values(), return_exceptions=True)

    def complete(self, key: Key, document: Document, stored: Document | None) -> list[FieldError]:
        """Check the definition and write names and status."""
        errors = check_definition(document)
        if not errors:
            self._custom.complete(document, stored)
        return errors

    def undo(self, key: Key, stored: Document | None) -> None:
        """Nothing was claimed."""

    async def written(self, key: Key, document: Document) -> None:
        """Serve the definition, or begin to delete its objects."""
        if document["metadata"].get("deletionTimestamp"):
            self._begin_cleanup(key.name)
        else:
            self._custom.serve(document)
            self._catalogue.forget()

    async def removed(self, key: Key) -> None:
        """Stop serving the definition."""
        self._custom.withdraw(key.name)
        self._catalogue.forget()

    def _begin_cleanup(self, name: str) -> None:
        if name not in self._cleanups:
            task = asyncio.create_task(self._clean_up(name))
            self._cleanups[name] = task
            task.add_done_callback(lambda _: self._cleanups.pop(name, None))

    async def _clean_up(self, name: str) -> None:
        watch = self._store.watch(name, self._store.version)
        try:
            while revisions := self._store.list_objects(name):
                for revision in revisions:
                    await self._delete_object(revision.key)
                if self._store.list_objects(name):
                    await watch.wait(_CHECK_SECONDS)
                    watch.take()
        finally:
            watch.close()
        key = Key(CRDS, "", name)
        while (current := self._store.latest(key)) is not None:
            document = current.document()
            finalizers = [one for one in document["metadata"].get("finalizers") or () if one != FINALIZER]
            document["metadata"]["finalizers"] = finalizers
            try:
                if finalizers:
                    await self._store.put(key, document, expected=current.version)
                    return
                await self._store.delete(key, document, expected=current.version)
                await self.removed(key)
            except WrongVersionError:
                continue

    async def _delete_object(self, key: Key) -> None:
        current = self._store.latest(key)
        if current is None:
            return
        document = current.document()
        changed = mark_deleted(document, 0)
        try:
            if not is_held(document):
                await self._store.delete(key, current.document(), expected=current.version)
            elif changed:
                await self._store.put(key, document, expected=current.version)
        except WrongVersionError:
            return
