"""Writes: create, update and patch -> decoded, defaulted, admitted, validated -> stored, or refused.

    body -> fields checked -> defaults -> mutating admission -> system fields -> validation -> validating
    admission -> store

An update starts from the state that the next write would meet; when another writer was faster, a client
that stated a version gets 409 and every other write is computed anew. `/status` takes the same way but may
change the status only.

Invariants: a dry run stops right before the store; an update that changes nothing writes nothing; an object
whose deletion waits for finalizers goes as soon as a write removes the last. Source: apiserver's generic
registry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from lateen.api.patch import PatchError, apply_patch
from lateen.cluster.apiserver.admission import Admission, Attributes, Document
from lateen.cluster.apiserver.hooks import Hook
from lateen.cluster.apiserver.judgement import check, decode, default, prune
from lateen.cluster.apiserver.request import Request, decode_json, decode_yaml
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.response import respond_object
from lateen.cluster.apiserver.status import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    generated_name_taken,
    invalid,
    not_found,
)
from lateen.cluster.apiserver.strategy import (
    check_identity,
    is_unchanged,
    prepare_create,
    prepare_update,
)
from lateen.cluster.apiserver.termination import is_released
from lateen.cluster.revisions import Revision, build_revision
from lateen.cluster.store import Store, WrongVersionError

_ATTEMPTS = 8
"""How often a write without a stated version is computed anew when others are faster."""

_APPLY = "application/apply-patch+yaml"

Change = Callable[[Document], Awaitable[Document]]
"""The stored object in the served version -> the object that the client wants."""


class Writer:
    """Answers create, update and patch."""

    def __init__(self, store: Store, admission: Admission, hooks: Mapping[str, Hook]) -> None:
        self._store = store
        self._admission = admission
        self._hooks = hooks

    async def create(self, request: Request, resource: Resource) -> web.Response:
        """Store a new object."""
        document = await request.document()
        target = request.target
        check_identity(resource, document, target.namespace, target.name)
        document = decode(request, resource, document)
        revision = await self.insert(request, resource, document)
        return respond_object(request, resource, revision, status=201)

    async def insert(self, request: Request, resource: Resource, document: Document) -> Revision:
        """Store a new object whose fields were checked; generated names that are taken are chosen anew."""
        generated = not document["metadata"].get("name")
        document = default(resource, document)
        attributes = _build_attributes(request, resource, "CREATE", document, None)
        if await self._admission.mutate(attributes):
            document = default(resource, prune(resource, _object(attributes)))
            attributes.object = document
        prepare_create(resource, document)
        attributes.name = document["metadata"]["name"]
        check(resource, document, None)
        await self._admission.validate(attributes)
        try:
            return await self._put(request, resource, document, None)
        except WrongVersionError:
            name = document["metadata"]["name"]
            raise (generated_name_taken if generated else already_exists)(resource.kind, name) from None

    async def update(self, request: Request, resource: Resource) -> web.Response:
        """Replace an object."""
        sent = await request.document()
        target = request.target
        check_identity(resource, sent, target.namespace, target.name)
        sent = decode(request, resource, sent)

        async def replace(_: Document) -> Document:
            return sent | {"metadata": dict(sent["metadata"])}

        return respond_object(request, resource, await self.change(request, resource, replace))

    async def patch(self, request: Request, resource: Resource) -> web.Response:
        """Change an object by a JSON, merge or strategic merge patch."""
        media_type = request.media_type
        if media_type == _APPLY:
            raise StatusError(
                415,
                "UnsupportedMediaType",
                "server-side apply is not supported by this server yet; use kubectl apply without --server-side",
            )
        body = await request.read()
        patch: Any = decode_yaml(body) if media_type.endswith("+yaml") else decode_json(body)
        target = request.target

        async def apply(stored: Document) -> Document:
            try:
                changed = apply_patch(media_type, stored, patch, resource.schema if resource.kind.builtin else None)
            except PatchError as error:
                raise _wrap_patch_error(resource, target.name, error) from None
            changed = changed | {"metadata": dict(changed.get("metadata") or {})}
            check_identity(resource, changed, target.namespace, target.name)
            return decode(request, resource, changed)

        return respond_object(request, resource, await self.change(request, resource, apply))

    async def change(self, request: Request, resource: Resource, change: Change) -> Revision:
        """Apply a change to the newest state of an object, again if another writer was faster."""
        target = request.target
        key = resource.key(target.namespace, target.name)
        for _ in range(_ATTEMPTS):
            current = self._store.latest(key)
            if current is None:
                raise not_found(resource.kind, target.name)
            stored = resource.document(current)
            wanted = await change(stored)
            stated = wanted["metadata"].get("resourceVersion")
            if stated and stated != stored["metadata"]["resourceVersion"]:
                raise conflict(resource.kind, target.name)
            try:
                return await self._change_once(request, resource, current, wanted)
            except WrongVersionError:
                continue
        raise conflict(resource.kind, target.name)

    async def _change_once(self, request: Request, resource: Resource, current: Revision, wanted: Document) -> Revision:
        subresource = request.target.subresource
        stored = resource.document(current)
        wanted = default(resource, wanted)
        wanted = prepare_update(resource, wanted, stored, subresource)
        attributes = _build_attributes(request, resource, "UPDATE", wanted, stored)
        if await self._admission.mutate(attributes):
            wanted = default(resource, prune(resource, _object(attributes)))
            wanted = prepare_update(resource, wanted, stored, subresource)
            attributes.object = wanted
        if is_unchanged(wanted, stored):
            return current
        check(resource, wanted, stored, subresource=subresource)
        await self._admission.validate(attributes)
        return await self._put(request, resource, wanted, current)

    async def _put(
        self, request: Request, resource: Resource, document: Document, current: Revision | None
    ) -> Revision:
        metadata = document["metadata"]
        key = resource.key(metadata.get("namespace", ""), metadata["name"])
        expected = current.version if current is not None else None
        latest = self._store.latest(key)
        if (latest.version if latest else None) != expected:
            raise WrongVersionError(key, latest)
        hook = self._hooks.get(resource.storage)
        stored = current.document() if hook is not None and current is not None else None
        if hook is not None and (errors := hook.complete(key, document, stored)):
            raise invalid(resource.kind, metadata["name"], errors)
        form = resource.store_form(document)
        if request.dry_run:
            if hook is not None:
                hook.undo(key, stored)
            return build_revision(key, expected or 0, form)
        released = current is not None and is_released(document)
        try:
            write = self._store.delete if released else self._store.put
            revision = await write(key, form, expected=expected)  # type: ignore[arg-type]
        except BaseException:
            if hook is not None:
                hook.undo(key, stored)
            raise
        if hook is not None:
            await (hook.removed(key) if released else hook.written(key, form))
        return revision


def _object(attributes: Attributes) -> Document:
    assert attributes.object is not None
    return attributes.object


def _build_attributes(
    request: Request, resource: Resource, operation: Any, document: Document, stored: Document | None
) -> Attributes:
    target = request.target
    return Attributes(
        operation=operation,
        resource=resource,
        subresource=target.subresource,
        namespace=target.namespace if resource.kind.namespaced else "",
        name=target.name or document["metadata"].get("name", ""),
        object=document,
        old=stored,
        user=request.user,
        dry_run=request.dry_run,
        options=_build_options(request, operation),
        warnings=request.warnings,
    )


def _build_options(request: Request, operation: str) -> Document:
    options: Document = {"kind": f"{operation.title()}Options", "apiVersion": "meta.k8s.io/v1"}
    for name in ("fieldManager", "fieldValidation"):
        if value := request.query.get(name):
            options[name] = value
    if request.dry_run:
        options["dryRun"] = ["All"]
    return options


def _wrap_patch_error(resource: Resource, name: str, error: PatchError) -> StatusError:
    if error.status == 415:
        return StatusError(415, "UnsupportedMediaType", error.message)
    if error.status == 422:
        return StatusError(
            422,
            "Invalid",
            f"the server rejected our request due to an error in our request: {error.message}",
            details={
                "name": name,
                "group": resource.kind.group,
                "kind": resource.kind.plural,
                "causes": [{"reason": "UnexpectedServerResponse", "message": error.message}],
            },
        )
    return bad_request(error.message)
