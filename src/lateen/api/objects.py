"""What every Kubernetes object has, read from its JSON document: names, labels, versions, owners.

Flow: document (plain `dict`, as JSON decodes it) -> key, reference or metadata. Documents are never
changed here, and a missing or null field reads as its empty value, because stored objects may lack
anything that is optional.
Source: Kubernetes API conventions, ObjectMeta.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lateen.api.kinds import parse_api_version
from lateen.base.names import ObjectRef

JsonObject = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON has it."""


class ObjectKey(NamedTuple):
    """Where an object of one kind stands; the namespace is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def metadata_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of an object; empty when it has none."""
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def name_of(document: Mapping[str, Any]) -> str:
    """The name; empty before `generateName` has made one."""
    return metadata_of(document).get("name") or ""


def namespace_of(document: Mapping[str, Any]) -> str:
    """The namespace; empty for cluster-scoped objects and before a default was applied."""
    return metadata_of(document).get("namespace") or ""


def key_of(document: Mapping[str, Any]) -> ObjectKey:
    """Namespace and name."""
    metadata = metadata_of(document)
    return ObjectKey(metadata.get("namespace") or "", metadata.get("name") or "")


def kind_of(document: Mapping[str, Any]) -> str:
    """The kind that the object says it is."""
    return document.get("kind") or ""


def group_version_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """API group (empty for core) and version."""
    return parse_api_version(document.get("apiVersion") or "")


def ref_of(document: Mapping[str, Any]) -> ObjectRef:
    """Kind, namespace and name."""
    namespace, name = key_of(document)
    return ObjectRef(kind_of(document), namespace, name)


def uid_of(document: Mapping[str, Any]) -> str:
    """The UID that the API server gave."""
    return metadata_of(document).get("uid") or ""


def resource_version_of(document: Mapping[str, Any]) -> str:
    """The resource version: opaque, empty on an object that was never stored."""
    return metadata_of(document).get("resourceVersion") or ""


def generation_of(document: Mapping[str, Any]) -> int:
    """How often the specification changed."""
    return metadata_of(document).get("generation") or 0


def labels_of(document: Mapping[str, Any]) -> Mapping[str, str]:
    """Labels; empty when there are none."""
    return metadata_of(document).get("labels") or {}


def annotations_of(document: Mapping[str, Any]) -> Mapping[str, str]:
    """Annotations; empty when there are none."""
    return metadata_of(document).get("annotations") or {}


def finalizers_of(document: Mapping[str, Any]) -> Sequence[str]:
    """Finalizers in order."""
    return metadata_of(document).get("finalizers") or ()


def owners_of(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Owner references in order."""
    return metadata_of(document).get("ownerReferences") or ()


def controller_of(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference that is marked as controller, if any."""
    return next((owner for owner in owners_of(document) if owner.get("controller")), None)


def is_terminating(document: Mapping[str, Any]) -> bool:
    """Whether deletion was asked for; the object stays until its finalizers and grace period are over."""
    return bool(metadata_of(document).get("deletionTimestamp"))
