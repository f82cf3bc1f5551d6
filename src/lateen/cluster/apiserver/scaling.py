"""The scale of a workload: Deployment, ReplicaSet, StatefulSet <-> `autoscaling/v1` Scale, which `kubectl scale` uses.

Reading builds a Scale from the workload; writing takes its `spec.replicas`, so a change passes admission and
validation as any update of the workload. Source: Kubernetes API reference, Scale v1, and the workloads' registries.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lateen.api.patch import PatchError, apply_patch
from lateen.api.schema.errors import FieldError
from lateen.api.schema.errors import invalid as invalid_value
from lateen.cluster.apiserver.reading import Reader
from lateen.cluster.apiserver.request import Request, decode_json
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.response import respond_value
from lateen.cluster.apiserver.status import bad_request, conflict, invalid, not_found
from lateen.cluster.apiserver.writing import Writer
from lateen.cluster.store import Store

Document = dict[str, Any]

SCALED = ("deployments.apps", "replicasets.apps", "statefulsets.apps", "replicationcontrollers")

_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


class Scaling:
    """Answers requests on `/scale`."""

    def __init__(self, store: Store, reader: Reader, writer: Writer) -> None:
        self._store = store
        self._reader = reader
        self._writer = writer

    async def get(self, request: Request, resource: Resource) -> web.Response:
        """The scale of a workload."""
        await self._reader.catch_up(request, resource)
        revision = self._store.get(resource.key(request.target.namespace, request.target.name))
        if revision is None:
            raise not_found(resource.kind, request.target.name)
        return respond_value(request, build_scale(resource.document(revision)))

    async def update(self, request: Request, resource: Resource) -> web.Response:
        """Take the replicas of a Scale."""
        sent = await request.document()

        async def resize(workload: Document) -> Document:
            return _resize(resource, workload, sent)

        revision = await self._writer.change(request, resource, resize)
        return respond_value(request, build_scale(resource.document(revision)))

    async def patch(self, request: Request, resource: Resource) -> web.Response:
        """Take the replicas of a patched Scale."""
        body = decode_json(await request.read())

        async def resize(workload: Document) -> Document:
            try:
                wanted = apply_patch(request.media_type, build_scale(workload), body, None)
            except PatchError as error:
                raise bad_request(error.message) from None
            return _resize(resource, workload, wanted)

        revision = await self._writer.change(request, resource, resize)
        return respond_value(request, build_scale(resource.document(revision)))


def build_scale(workload: Document) -> Document:
    """The Scale of a workload."""
    metadata, spec = workload["metadata"], workload.get("spec") or {}
    status: Document = {"replicas": (workload.get("status") or {}).get("replicas", 0)}
    if selector := _format_selector(spec.get("selector") or {}):
        status["selector"] = selector
    replicas = spec.get("replicas", 1)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in _KEPT if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _resize(resource: Resource, workload: Document, scale: Document) -> Document:
    metadata = workload["metadata"]
    name, stated = metadata["name"], scale.get("metadata") or {}
    if stated.get("name", name) != name:
        raise bad_request(f"the name of the object ({stated['name']}) does not match the name on the URL ({name})")
    if stated.get("uid", metadata["uid"]) != metadata["uid"]:
        text = f"Precondition failed: UID in precondition: {stated['uid']}, UID in object meta: {metadata['uid']}"
        raise conflict(resource.kind, name, text)
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas is no whole number')
    if replicas < 0:
        error: FieldError = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid(resource.kind, name, [error])
    wanted = dict(metadata)
    wanted.pop("resourceVersion", None)
    if stated.get("resourceVersion"):
        wanted["resourceVersion"] = stated["resourceVersion"]
    return workload | {"metadata": wanted, "spec": {**workload["spec"], "replicas": replicas}}


def _format_selector(selector: Document) -> str:
    """A selector as text; that of a replication controller is a plain map."""
    if not {"matchLabels", "matchExpressions"} & selector.keys():
        return ",".join(f"{name}={value}" for name, value in sorted(selector.items()))
    parts = [f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        values = f"({','.join(sorted(one.get('values') or ()))})"
        match one["operator"]:
            case "Exists":
                parts.append(one["key"])
            case "DoesNotExist":
                parts.append(f"!{one['key']}")
            case operator:
                parts.append(f"{one['key']} {operator.lower()} {values}")
    return ",".join(parts)
