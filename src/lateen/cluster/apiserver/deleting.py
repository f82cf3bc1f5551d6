"""Deletions: delete and deletecollection -> gone, or marked until node or finalizers let go.

A pod that runs is given its grace period: it is marked with `deletionTimestamp`, its node stops it and
deletes it once more with grace 0. Anything with finalizers is marked and goes when the last is removed. A
namespace waits for its `spec.finalizers`, which the namespace controller clears through `/finalize`.
Dependants are the garbage collector's; the propagation policy is left to it as a finalizer.

Source: the Kubernetes pages "Pod Lifecycle", "Finalizers", "Garbage Collection".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lateen.cluster.apiserver.admission import Admission, Attributes, Document
from lateen.cluster.apiserver.hooks import Hook
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.response import respond_list, respond_object, respond_value
from lateen.cluster.apiserver.selection import parse_selection
from lateen.cluster.apiserver.status import StatusError, bad_request, build_success, conflict, not_found
from lateen.cluster.apiserver.termination import is_held, mark_deleted, set_propagation
from lateen.cluster.revisions import Revision, build_revision
from lateen.cluster.store import Store, WrongVersionError

_DEFAULT_GRACE_SECONDS = 30
_POLICIES = ("", "Background", "Foreground", "Orphan")


@dataclass(frozen=True)
class DeleteOptions:
    """How a client wants an object to go."""

    grace_seconds: int | None
    uid: str
    resource_version: str
    dry_run: bool
    document: Document
    propagation: str = ""


async def read_options(request: Request) -> DeleteOptions:
    """The options in the body, or in the query where the body has none; StatusError 400."""
    document = await request.document() if request.http.body_exists else {}
    policy = document.get("propagationPolicy") or request.query.get("propagationPolicy", "")
    if not policy and isinstance(document.get("orphanDependents"), bool):
        policy = "Orphan" if document["orphanDependents"] else "Background"
    if policy not in _POLICIES:
        raise bad_request(f'invalid propagationPolicy "{policy}": supported values: {", ".join(_POLICIES[1:])}')
    grace = document.get("gracePeriodSeconds")
    if grace is None:
        grace = request.number("gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request("gracePeriodSeconds is no whole number")
    preconditions = document.get("preconditions") or {}
    return DeleteOptions(
        grace_seconds=None if grace is None else max(grace, 0),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=request.dry_run or document.get("dryRun") == ["All"],
        document={"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"} | document,
        propagation=policy,
    )


class Deleter:
    """Answers delete and deletecollection."""

    def __init__(self, store: Store, admission: Admission, hooks: Mapping[str, Hook]) -> None:
        self._store = store
        self._admission = admission
        self._hooks = hooks

    async def delete(self, request: Request, resource: Resource) -> web.Response:
        """Delete one object; answers with what is left of it, or with a Status when it is gone."""
        options = await read_options(request)
        name = request.target.name
        revision, gone = await self.remove(request, resource, request.target.namespace, name, options)
        if not gone or resource.storage == "pods":
            return respond_object(request, resource, revision)
        uid = revision.document()["metadata"].get("uid", "")
        return respond_value(request, build_success(resource.kind, name, uid))

    async def delete_collection(self, request: Request, resource: Resource) -> web.Response:
        """Delete all objects of a selection; answers with the list of them."""
        options = await read_options(request)
        selection = parse_selection(request, resource)
        chosen = [
            revision
            for revision in self._store.list_objects(resource.storage, selection.namespace)
            if selection.matches(revision)
        ]
        deleted = []
        for revision in chosen:
            key = revision.key
            try:
                left, _ = await self.remove(request, resource, key.namespace, key.name, options)
            except StatusError as error:
                if error.code != 404:
                    raise
            else:
                deleted.append(left)
        return await respond_list(request, resource, deleted, {"resourceVersion": str(self._store.version)})

    async def remove(
        self, request: Request, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> tuple[Revision, bool]:
        """Delete an object or mark it; the state it is left in and whether it is gone."""
        key = resource.key(namespace, name)
        admitted = False
        while True:
            current = self._store.latest(key)
            if current is None:
                raise not_found(resource.kind, name)
            _check_preconditions(resource, current, options)
            if not admitted:
                await self._admit(request, resource, current, options)
                admitted = True
            try:
                return await self._remove_once(resource, current, options)
            except WrongVersionError:
                continue

    async def _admit(self, request: Request, resource: Resource, current: Revision, options: DeleteOptions) -> None:
        attributes = Attributes(
            operation="DELETE",
            resource=resource,
            subresource="",
            namespace=current.key.namespace,
            name=current.key.name,
            object=None,
            old=resource.document(current),
            user=request.user,
            dry_run=options.dry_run,
            options=options.document,
            warnings=request.warnings,
        )
        await self._admission.mutate(attributes)
        await self._admission.validate(attributes)

    async def _remove_once(
        self, resource: Resource, current: Revision, options: DeleteOptions
    ) -> tuple[Revision, bool]:
        document = current.document()
        changed = set_propagation(document, options.propagation)
        changed |= mark_deleted(document, _grace_seconds(resource, document, options))
        gone = not is_held(document)
        if options.dry_run:
            return build_revision(current.key, current.version, document), gone
        hook = self._hooks.get(resource.storage)
        if gone:
            revision = await self._store.delete(current.key, current.document(), expected=current.version)
            if hook is not None:
                await hook.removed(current.key)
            return revision, True
        if not changed:
            return current, False
        revision = await self._store.put(current.key, document, expected=current.version)
        if hook is not None:
            await hook.written(current.key, document)
        return revision, False


def _grace_seconds(resource: Resource, document: Document, options: DeleteOptions) -> int:
    if resource.storage != "pods":
        return 0
    spec: dict[str, Any] = document.get("spec") or {}
    phase = (document.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if options.grace_seconds is not None:
        return options.grace_seconds
    return int(spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS))


def _check_preconditions(resource: Resource, current: Revision, options: DeleteOptions) -> None:
    if not options.uid and not options.resource_version:
        return
    metadata = current.document()["metadata"]
    for label, wanted, found in (
        ("UID", options.uid, metadata.get("uid")),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {found}"
            raise conflict(resource.kind, current.key.name, why)
