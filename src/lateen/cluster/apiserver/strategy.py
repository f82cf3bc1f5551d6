"""What the server itself writes into objects: names, uids, times, generations, and who may touch which part.

create: system fields of the client are dropped, name and uid given, status begun. update: immutable
metadata comes from the stored object, `/status` changes only the status and everything else only the rest,
the generation counts changes of the specification. Source: the `PrepareForCreate` and `PrepareForUpdate`
strategies of Kubernetes' registry, and the API conventions.
"""

from __future__ import annotations

import datetime
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from lateen.api.kinds import Kind
from lateen.api.schema.errors import required
from lateen.cluster.apiserver.pod_status import build_pod_status
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.service_addresses import drop_left_behind, keep_addresses
from lateen.cluster.apiserver.status import bad_request, conflict, invalid

Document = dict[str, Any]

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_LONGEST_BASE = 58

_GIVEN_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "managedFields",
    "resourceVersion",
)
_KEPT_FROM_STORED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")

_WITHOUT_GENERATION = frozenset(
    {
        "bindings",
        "configmaps",
        "endpoints",
        "events",
        "leases.coordination.k8s.io",
        "limitranges",
        "namespaces",
        "nodes",
        "persistentvolumeclaims",
        "persistentvolumes",
        "podtemplates",
        "resourcequotas",
        "secrets",
        "serviceaccounts",
        "services",
        "storageclasses.storage.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
    }
)
_STATUS_AT_CREATION = frozenset({"nodes"})
"""Kinds whose creator reports the status at once; that of others is dropped."""


def format_time(moment: datetime.datetime) -> str:
    """A timestamp as metadata has it: UTC, whole seconds."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> datetime.datetime:
    """The present, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def new_uid() -> str:
    """A uid that no object had before."""
    return str(uuid.uuid4())


def has_status(kind: Kind) -> bool:
    """Whether the status is written through a subresource of its own."""
    return "status" in kind.subresources


def generate_name(base: str) -> str:
    """A name that begins with `generateName`."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
    return base[:_LONGEST_BASE] + suffix


def check_identity(resource: Resource, document: Document, namespace: str, name: str) -> None:
    """Refuse a body that speaks of another kind, namespace or name than the URL; fill in what it leaves
    out.
    """
    api_version, kind = document.setdefault("apiVersion", resource.api_version), document.get("kind")
    if kind is None:
        document["kind"] = resource.kind.kind
    elif kind != resource.kind.kind:
        raise bad_request(
            f"{kind} in version {str(api_version).rpartition('/')[2]!r} cannot be handled as a "
            f"{resource.kind.kind}: no kind {kind!r} is registered for this resource"
        )
    if api_version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    metadata = document.get("metadata")
    if metadata is None:
        metadata = document["metadata"] = {}
    if not isinstance(metadata, dict):
        raise bad_request(
            f"{resource.kind.kind} in version {resource.version!r} cannot be decoded: metadata is no object"
        )
    if resource.kind.namespaced:
        if metadata.setdefault("namespace", namespace) in ("", None):
            metadata["namespace"] = namespace
        if metadata["namespace"] != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    elif not metadata.get("namespace"):
        metadata.pop("namespace", None)
    if name and metadata.setdefault("name", name) != name:
        raise bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")


def prepare_create(resource: Resource, document: Document) -> None:
    """Give a new object its system fields, in place."""
    kind, metadata = resource.kind, document["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for name in _GIVEN_BY_SERVER:
        metadata.pop(name, None)
    if not metadata.get("name"):
        base = metadata.get("generateName")
        if not base:
            raise invalid(kind, "", [required("metadata.name", "name or generateName is required")])
        metadata["name"] = generate_name(base)
    metadata["uid"] = new_uid()
    metadata["creationTimestamp"] = format_time(now())
    if kind.qualified_name not in _WITHOUT_GENERATION:
        metadata["generation"] = 1
    if has_status(kind) and kind.qualified_name not in _STATUS_AT_CREATION:
        document.pop("status", None)
    complete(kind.qualified_name, document)


def prepare_update(resource: Resource, document: Document, stored: Document, subresource: str) -> Document:
    """The object to store when a client sends `document` for `stored`; both are in the served version."""
    kind, metadata, old = resource.kind, document["metadata"], stored["metadata"]
    if metadata.get("uid") not in (None, "", old["uid"]):
        raise conflict(
            kind,
            old["name"],
            f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {old['uid']}",
        )
    for name in _GIVEN_BY_SERVER:
        metadata.pop(name, None)
    metadata |= {name: old[name] for name in _KEPT_FROM_STORED if name in old}
    if subresource == "status":
        return _replace_status(kind, document, stored)
    if has_status(kind) and subresource != "binding":
        document.pop("status", None)
        if "status" in stored:
            document["status"] = stored["status"]
    if kind.qualified_name == "namespaces" and subresource != "finalize":
        document["spec"] = stored["spec"]
    complete(kind.qualified_name, document)
    if kind.qualified_name == "services":
        keep_addresses(document["spec"], stored["spec"])
        drop_left_behind(document["spec"], stored["spec"])
    if "generation" in old and _specification(document) != _specification(stored):
        metadata["generation"] = old["generation"] + 1
    return document


def _replace_status(kind: Kind, document: Document, stored: Document) -> Document:
    result = {name: value for name, value in stored.items() if name != "status"}
    if "status" in document:
        result["status"] = document["status"]
    metadata = dict(document["metadata"] if kind.builtin else stored["metadata"])
    if "ownerReferences" in stored["metadata"]:
        metadata["ownerReferences"] = stored["metadata"]["ownerReferences"]
    metadata.pop("resourceVersion", None)
    result["metadata"] = metadata
    return result


def _specification(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("metadata", "status", "apiVersion")}


def is_unchanged(document: Document, stored: Document) -> bool:
    """Whether an update would store what is there already."""
    metadata = {name: value for name, value in stored["metadata"].items() if name != "resourceVersion"}
    return document["metadata"] == metadata and document | {"metadata": None} == stored | {"metadata": None}


def complete(qualified_name: str, document: Document) -> None:
    """Write what the server itself adds to objects of some kinds, in place."""
    if found := _COMPLETIONS.get(qualified_name):
        found(document)


def _complete_namespace(document: Document) -> None:
    metadata = document["metadata"]
    labels = metadata.get("labels")
    metadata["labels"] = {**(labels or {}), "kubernetes.io/metadata.name": metadata["name"]}
    spec = document.setdefault("spec", {})
    if "deletionTimestamp" not in metadata:
        spec.setdefault("finalizers", ["kubernetes"])
    document.setdefault("status", {"phase": "Active"})


def _complete_pod(document: Document) -> None:
    if "status" not in document:
        document["status"] = build_pod_status(document)


def _complete_service(document: Document) -> None:
    document.setdefault("status", {"loadBalancer": {}})


def _complete_job(document: Document) -> None:
    """Give a job that leaves it to the server a selector of its own, and its pods the labels for it."""
    spec, metadata = document["spec"], document["metadata"]
    if spec.get("manualSelector") or spec.get("selector"):
        return
    names = {"controller-uid": metadata["uid"], "job-name": metadata["name"]}
    labels = names | {f"batch.kubernetes.io/{name}": value for name, value in names.items()}
    template = spec.setdefault("template", {})
    template_metadata = template.get("metadata") or {}
    template["metadata"] = template_metadata | {"labels": {**(template_metadata.get("labels") or {}), **labels}}
    uid_label = "batch.kubernetes.io/controller-uid"
    spec["selector"] = {"matchLabels": {uid_label: metadata["uid"]}}


def _complete_volume_claim(document: Document) -> None:
    document.setdefault("status", {"phase": "Pending"})


_COMPLETIONS: dict[str, Callable[[Document], None]] = {
    "namespaces": _complete_namespace,
    "jobs.batch": _complete_job,
    "pods": _complete_pod,
    "services": _complete_service,
    "persistentvolumeclaims": _complete_volume_claim,
    "persistentvolumes": _complete_volume_claim,
}
