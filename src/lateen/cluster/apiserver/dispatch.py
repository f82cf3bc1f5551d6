"""From a request to the handler that answers it, past authorization.

A path without a resource (health, versions, discovery, OpenAPI) is paths.py's; for the rest resource,
subresource and verb choose. A verb that is not allowed is 403 before anybody learns whether the resource
exists; an unknown resource is 404, a verb that its kind lacks 405.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from lateen.cluster.apiserver.authorization import Action, explain_refusal, is_allowed
from lateen.cluster.apiserver.deleting import Deleter
from lateen.cluster.apiserver.paths import Paths
from lateen.cluster.apiserver.reading import Reader
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Catalogue, Resource
from lateen.cluster.apiserver.reviews import Reviews
from lateen.cluster.apiserver.scaling import SCALED, Scaling
from lateen.cluster.apiserver.status import StatusError, method_not_allowed, no_such_path
from lateen.cluster.apiserver.strategy import has_status
from lateen.cluster.apiserver.subresources import Subresources
from lateen.cluster.apiserver.watching import Watcher
from lateen.cluster.apiserver.writing import Writer

Handler = Callable[[Request, Resource], Awaitable[web.StreamResponse]]

_REVIEW_GROUPS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})

SUBRESOURCES = frozenset({"status", "scale", "log", "exec", "binding", "eviction", "token", "finalize"})
"""What is implemented; discovery offers no other."""


@dataclass(frozen=True)
class Handlers:
    """Who answers what."""

    paths: Paths
    reader: Reader
    watcher: Watcher
    writer: Writer
    deleter: Deleter
    subresources: Subresources
    reviews: Reviews
    scaling: Scaling


class Dispatcher:
    """Authorizes requests and finds their handlers."""

    def __init__(self, catalogue: Catalogue, handlers: Handlers) -> None:
        self._catalogue = catalogue
        self._paths = handlers.paths
        self._reviews = handlers.reviews
        writer, special = handlers.writer, handlers.subresources
        self._verbs: dict[str, Handler] = {
            "get": handlers.reader.get,
            "list": handlers.reader.list_objects,
            "watch": handlers.watcher.watch,
            "create": writer.create,
            "update": writer.update,
            "patch": writer.patch,
            "delete": handlers.deleter.delete,
            "deletecollection": handlers.deleter.delete_collection,
        }
        status: dict[str, Handler] = {
            "get": handlers.reader.get,
            "update": writer.update,
            "patch": writer.patch,
        }
        scaling = handlers.scaling
        scale: dict[str, Handler] = {"get": scaling.get, "update": scaling.update, "patch": scaling.patch}
        self._subresources: dict[str, dict[str, Handler]] = {
            "status": status,
            **{f"{name}/scale": scale for name in SCALED},
            "pods/log": {"get": special.read_log},
            "pods/exec": {"get": special.exec, "create": special.exec},
            "pods/binding": {"create": special.bind},
            "pods/eviction": {"create": special.evict},
            "serviceaccounts/token": {"create": special.issue_token},
            "namespaces/finalize": {"update": special.finalize},
        }

    async def answer(self, request: Request) -> web.StreamResponse:
        """Answer a request; raises StatusError."""
        _authorize(request)
        target = request.target
        if not target.resource:
            return await self._paths.answer(request)
        resource = self._catalogue.find(target.group, target.version, target.resource)
        if resource is None or target.rest:
            raise no_such_path()
        if resource.kind.namespaced is not bool(target.namespace) and (
            target.namespace or target.verb not in ("list", "watch")
        ):
            self._check_scope(request, resource)
        return await self._find(request, resource)(request, resource)

    def _check_scope(self, request: Request, resource: Resource) -> None:
        if resource.kind.group in _REVIEW_GROUPS:
            return
        if resource.kind.namespaced and request.target.verb == "create":
            raise method_not_allowed(resource.kind, "create")
        if resource.kind.namespaced and request.target.verb == "deletecollection":
            raise method_not_allowed(resource.kind, "deletecollection")
        raise no_such_path()

    def _find(self, request: Request, resource: Resource) -> Handler:
        target, kind = request.target, resource.kind
        if kind.group in _REVIEW_GROUPS and target.verb == "create":
            return self._reviews.create
        if target.subresource:
            found = self._find_subresource(resource, target.subresource)
        elif target.verb in kind.verbs and not (target.verb == "create" and target.name):
            found = self._verbs
        else:
            found = {}
        handler = found.get(target.verb)
        if handler is None:
            raise method_not_allowed(kind, target.verb)
        return handler

    def _find_subresource(self, resource: Resource, name: str) -> dict[str, Handler]:
        if name == "status" and has_status(resource.kind):
            return self._subresources["status"]
        found = self._subresources.get(f"{resource.kind.qualified_name}/{name}")
        if found is None or name not in resource.kind.subresources:
            raise no_such_path()
        return found


def _authorize(request: Request) -> None:
    target = request.target
    action = Action(
        verb=target.verb,
        group=target.group,
        resource=target.resource,
        subresource=target.subresource,
        namespace=target.namespace,
        path=target.path,
    )
    if is_allowed(request.user, action):
        return
    if not target.resource:
        message = f'forbidden: User "{request.user.name}" cannot {target.verb} path "{target.path}"'
        raise StatusError(403, "Forbidden", message)
    qualified = f"{target.resource}.{target.group}" if target.group else target.resource
    subject = f'{qualified} "{target.name}"' if target.name else qualified
    details = {"name": target.name, "group": target.group, "kind": target.resource}
    raise StatusError(
        403,
        "Forbidden",
        f"{subject} is forbidden: {explain_refusal(request.user, action)}",
        details={name: value for name, value in details.items() if value},
    )
