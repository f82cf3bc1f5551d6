"""Subresources with behaviour of their own: pods/{binding,eviction,log,exec}, tokens, finalize.

`/status` is not here: it is a write like any other (writing.py). Source: Kubernetes API reference of each.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from lateen.api.schema.errors import FieldError
from lateen.api.schema.errors import invalid as invalid_value
from lateen.base.errors import LateenError, NotFoundError
from lateen.cluster.apiserver.admission import Document
from lateen.cluster.apiserver.deleting import DeleteOptions, Deleter
from lateen.cluster.apiserver.pod_io import PodIO
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.response import add_warnings, respond_object, respond_value
from lateen.cluster.apiserver.status import (
    bad_request,
    conflict,
    forbidden,
    internal_error,
    invalid,
    not_found,
    unavailable,
)
from lateen.cluster.apiserver.strategy import format_time, now
from lateen.cluster.apiserver.streaming import serve_exec
from lateen.cluster.apiserver.tokens import API_AUDIENCE, BoundObject, TokenIssuer
from lateen.cluster.apiserver.writing import Writer
from lateen.cluster.revisions import Key, Revision
from lateen.cluster.store import Store

_SHORTEST_TOKEN_SECONDS = 600
_DEFAULT_TOKEN_SECONDS = 3600
_LONGEST_TOKEN_SECONDS = 1 << 32


class Subresources:
    """Answers the requests on subresources."""

    def __init__(self, store: Store, writer: Writer, deleter: Deleter, issuer: TokenIssuer) -> None:
        self._store = store
        self._writer = writer
        self._deleter = deleter
        self._issuer = issuer
        self.pod_io: PodIO | None = None

    async def bind(self, request: Request, resource: Resource) -> web.Response:
        """Assign a pod to the node that a Binding names."""
        binding = await request.document()
        node = (binding.get("target") or {}).get("name")
        if not node:
            raise bad_request("target.name is required")

        async def assign(pod: Document) -> Document:
            if pod["spec"].get("nodeName"):
                why = f'pod {pod["metadata"]["name"]} is already assigned to node "{pod["spec"]["nodeName"]}"'
                raise conflict(resource.kind, pod["metadata"]["name"], why)
            if pod["metadata"].get("deletionTimestamp"):
                why = f"pod {pod['metadata']['name']} is being deleted, cannot be assigned to a host"
                raise conflict(resource.kind, pod["metadata"]["name"], why)
            condition = {
                "type": "PodScheduled",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": format_time(now()),
            }
            status = dict(pod.get("status") or {})
            others = [one for one in status.get("conditions") or () if one["type"] != "PodScheduled"]
            status["conditions"] = [*others, condition]
            return pod | {"spec": pod["spec"] | {"nodeName": node}, "status": status}

        await self._writer.change(request, resource, assign)
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return respond_value(request, success, status=201)

    async def evict(self, request: Request, resource: Resource) -> web.Response:
        """Delete a pod as an Eviction asks; no disruption budget stands in the way."""
        eviction = await request.document()
        options = eviction.get("deleteOptions") or {}
        delete = DeleteOptions(options.get("gracePeriodSeconds"), "", "", request.dry_run, options)
        await self._deleter.remove(request, resource, request.target.namespace, request.target.name, delete)
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return respond_value(request, success, status=201)

    async def finalize(self, request: Request, resource: Resource) -> web.Response:
        """Change the finalizers of a namespace; one that is to be deleted goes with the last."""
        sent = await request.document()

        async def replace(namespace: Document) -> Document:
            finalizers = (sent.get("spec") or {}).get("finalizers") or []
            stated = (sent.get("metadata") or {}).get("resourceVersion")
            metadata = namespace["metadata"] | ({"resourceVersion": stated} if stated else {})
            return namespace | {"metadata": metadata, "spec": {"finalizers": finalizers}}

        return respond_object(request, resource, await self._writer.change(request, resource, replace))

    async def issue_token(self, request: Request, resource: Resource) -> web.Response:
        """Sign a token for a service account, bound to the object that the TokenRequest names."""
        document = await request.document()
        target = request.target
        account = self._store.get(resource.key(target.namespace, target.name))
        if account is None:
            raise not_found(resource.kind, target.name)
        spec: Document = dict(document.get("spec") or {})
        seconds = spec.get("expirationSeconds") or _DEFAULT_TOKEN_SECONDS
        if not isinstance(seconds, int) or not _SHORTEST_TOKEN_SECONDS <= seconds <= _LONGEST_TOKEN_SECONDS:
            text = "may not specify a duration less than 10 minutes"
            raise invalid(resource.kind, target.name, [invalid_value("spec.expirationSeconds", seconds, text)])
        audiences = [str(audience) for audience in spec.get("audiences") or [API_AUDIENCE]]
        bound, node = self._find_bound(resource, target.namespace, target.name, spec.get("boundObjectRef"))
        self._check_node_asks_for_its_pod(request, resource, bound)
        uid = account.document()["metadata"]["uid"]
        token, expires = self._issuer.issue(
            target.namespace, target.name, uid, audiences=audiences, seconds=seconds, bound=bound, node=node
        )
        moment = datetime.datetime.fromtimestamp(expires, datetime.UTC)
        answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": format_time(now())},
            "spec": spec | {"audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": format_time(moment)},
        }
        return respond_value(request, answer, status=201)

    def _check_node_asks_for_its_pod(self, request: Request, resource: Resource, bound: BoundObject | None) -> None:
        """403 when a node wants a token for anything but a pod that runs on it, as NodeRestriction has it."""
        prefix, _, node = request.user.name.rpartition(":")
        if prefix != "system:node":
            return
        pod = self._store.get(Key("pods", request.target.namespace, bound.name)) if bound else None
        if bound is None or bound.kind != "Pod" or pod is None:
            raise forbidden(resource.kind, request.target.name, "node requested token not bound to a pod")
        if pod.document()["spec"].get("nodeName") != node:
            why = "node requested token bound to a pod scheduled on a different node"
            raise forbidden(resource.kind, request.target.name, why)

    def _find_bound(
        self, resource: Resource, namespace: str, account: str, reference: Document | None
    ) -> tuple[BoundObject | None, BoundObject | None]:
        if not reference:
            return None, None
        kind, name, uid = reference.get("kind", ""), reference.get("name", ""), reference.get("uid", "")
        places = {"Pod": Key("pods", namespace, name), "Secret": Key("secrets", namespace, name)}
        key = places.get(kind) or (Key("nodes", "", name) if kind == "Node" else None)
        if key is None:
            raise bad_request(f'cannot bind token for serviceaccount "{account}" to a {kind!r}')
        revision = self._store.get(key)
        document = revision.document() if revision is not None else None
        if document is None or (uid and document["metadata"]["uid"] != uid):
            why = f"the UID in the bound object reference ({uid}) does not match an existing {kind} {name!r}"
            raise conflict(resource.kind, account, why)
        spec = document.get("spec") or {}
        if kind == "Pod" and spec.get("serviceAccountName") != account:
            raise bad_request(
                f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
            )
        node = self._store.get(Key("nodes", "", spec.get("nodeName") or "")) if kind == "Pod" else None
        return BoundObject(kind, name, document["metadata"]["uid"]), _bind_node(node)

    async def read_log(self, request: Request, resource: Resource) -> web.StreamResponse:
        """Stream the log of one container of a pod."""
        target = request.target
        pods, container = self._find_container(request, resource)
        stream = pods.logs(
            target.namespace,
            target.name,
            container,
            follow=request.flag("follow"),
            tail_lines=_positive(request, resource, "tailLines"),
            previous=request.flag("previous"),
            since=_since(request),
            timestamps=request.flag("timestamps"),
        )
        return await _send_log(request, stream, _positive(request, resource, "limitBytes"))

    async def exec(self, request: Request, resource: Resource) -> web.StreamResponse:
        """Run a command in a container of a pod and stream it."""
        pods, container = self._find_container(request, resource)
        return await serve_exec(request, pods, container)

    def _find_container(self, request: Request, resource: Resource) -> tuple[PodIO, str]:
        """The node's streams and the container that a request on a pod means."""
        target = request.target
        revision = self._store.get(resource.key(target.namespace, target.name))
        if revision is None:
            raise not_found(resource.kind, target.name)
        pod = revision.document()
        container = choose_container(pod, request.query.get("container", ""))
        if self.pod_io is None:
            raise unavailable("no node is connected to this API server")
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {target.name} does not have a host assigned")
        return self.pod_io, container


def _bind_node(revision: Revision | None) -> BoundObject | None:
    if revision is None:
        return None
    return BoundObject("Node", revision.key.name, revision.document()["metadata"]["uid"])


def choose_container(pod: dict[str, Any], wanted: str) -> str:
    """The container that a log request means; StatusError 400 if the pod has several and none was named."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    main = [one["name"] for one in spec["containers"]]
    initial = [one["name"] for one in spec.get("initContainers") or ()]
    if wanted:
        if wanted not in (*main, *initial):
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(main) == 1:
        return str(main[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if initial:
        text += f" or one of the init containers: [{' '.join(initial)}]"
    raise bad_request(text)


async def _send_log(request: Request, stream: AsyncIterator[bytes], limit: int | None) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    add_warnings(request, response)
    try:
        piece = await anext(stream, None)
    except NotFoundError as error:
        raise bad_request(error.message) from None
    except LateenError as error:
        raise internal_error(error.message) from None
    await response.prepare(request.http)
    sent = 0
    while piece is not None and (limit is None or sent < limit):
        part = piece if limit is None else piece[: limit - sent]
        await response.write(part)
        sent += len(part)
        piece = await anext(stream, None)
    return response


def _positive(request: Request, resource: Resource, name: str) -> int | None:
    value = request.number(name)
    least = 1 if name == "limitBytes" else 0
    if value is not None and value < least:
        error: FieldError = invalid_value(name, value, f"must be greater than or equal to {least}")
        raise invalid(resource.kind, request.target.name, [error])
    return value


def _since(request: Request) -> datetime.datetime | None:
    if seconds := request.number("sinceSeconds"):
        return now() - datetime.timedelta(seconds=seconds)
    if text := request.query.get("sinceTime"):
        try:
            return datetime.datetime.fromisoformat(text)
        except ValueError:
            raise bad_request(f'sinceTime: "{text}" is no RFC 3339 time') from None
    return None
