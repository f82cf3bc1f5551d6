"""ObjectMeta: (document, kind) -> FieldErrors for names, namespace, labels, annotations, owners and
finalizers.

Updates may not change what identifies an object. Source: ObjectMeta in the Kubernetes API reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lateen.api.json_patch import equal_json
from lateen.api.kinds import Kind
from lateen.api.schema import names
from lateen.api.schema.errors import FieldError, forbidden, invalid, required, too_long

_ANNOTATIONS_BYTES = 256 * 1024
_RBAC = "rbac.authorization.k8s.io"

#: (group, kind) -> the rule for its names; all others are DNS subdomains.
_NAME_RULES: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("", "Namespace"): names.check_label,
    ("", "Service"): names.check_service_name,
    ("apps", "StatefulSet"): names.check_label,
    ("", "Event"): names.check_path_segment,
    ("events.k8s.io", "Event"): names.check_path_segment,
    ("networking.k8s.io", "IPAddress"): names.check_path_segment,
    ("apiregistration.k8s.io", "APIService"): names.check_path_segment,
    **{
        (_RBAC, kind): names.check_path_segment for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    },
}

#: What an update may not change.
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def check_name(kind: Kind, name: str) -> list[str]:
    """What is wrong with a name for an object of that kind."""
    return _NAME_RULES.get((kind.group, kind.kind), names.check_subdomain)(name)


def validate_metadata(kind: Kind, document: Mapping[str, Any]) -> Iterator[FieldError]:
    """The mistakes in the metadata of a new object, whose name has been generated if it was to be."""
    metadata = document.get("metadata") or {}
    name, namespace = metadata.get("name") or "", metadata.get("namespace") or ""
    if metadata.get("generateName"):
        prefix = metadata["generateName"]
        stem = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        yield from (invalid("metadata.generateName", prefix, text) for text in check_name(kind, stem))
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from (invalid("metadata.name", name, text) for text in check_name(kind, name))
    if not kind.namespaced:
        if namespace:
            yield forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        yield required("metadata.namespace")
    else:
        yield from (invalid("metadata.namespace", namespace, text) for text in names.check_label(namespace))
    yield from _validate_common(metadata)
    for finalizer in metadata.get("finalizers") or ():
        yield from (invalid("metadata.finalizers", finalizer, text) for text in names.check_qualified_name(finalizer))


def validate_metadata_update(document: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[FieldError]:
    """The mistakes in the metadata of a changed object."""
    metadata, before = document.get("metadata") or {}, old.get("metadata") or {}
    if before.get("deletionTimestamp"):
        extra = sorted(set(metadata.get("finalizers") or ()) - set(before.get("finalizers") or ()))
        if extra:
            shown = ", ".join(f'"{one}"' for one in extra)
            text = "no new finalizers can be added if the object is being deleted, found new finalizers"
            yield forbidden("metadata.finalizers", f"{text} []string{{{shown}}}")
    for member in _IMMUTABLE:
        if not equal_json(metadata.get(member), before.get(member)):
            yield invalid(f"metadata.{member}", metadata.get(member), "field is immutable")
    yield from _validate_common(metadata)


def _validate_common(metadata: Mapping[str, Any]) -> Iterator[FieldError]:
    yield from validate_labels(metadata.get("labels") or {}, "metadata.labels")
    yield from validate_annotations(metadata.get("annotations") or {}, "metadata.annotations")
    controller = ""
    owners = metadata.get("ownerReferences") or ()
    for owner in owners:
        yield from _validate_owner(owner)
        if owner.get("controller"):
            name = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                text = 'Only one reference can have Controller set to true. Found "true" in references for'
                yield invalid("metadata.ownerReferences", owners, f"{text} {controller} and {name}")
            controller = controller or name


def _validate_owner(owner: Mapping[str, Any]) -> Iterator[FieldError]:
    for member, text in (
        ("apiVersion", "version must not be empty"),
        ("kind", "must not be empty"),
        ("name", "must not be empty"),
        ("uid", "must not be empty"),
    ):
        if not owner.get(member):
            yield invalid(f"metadata.ownerReferences.{member}", "", text)


def validate_labels(labels: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """The mistakes in a map of labels."""
    for key, value in labels.items():
        yield from (invalid(path, key, text) for text in names.check_qualified_name(key))
        yield from (invalid(path, value, text) for text in names.check_label_value(value))


def validate_annotations(annotations: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """The mistakes in a map of annotations."""
    for key in annotations:
        yield from (invalid(path, key, text) for text in names.check_qualified_name(key.lower()))
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_BYTES:
        yield too_long(path, _ANNOTATIONS_BYTES)


def validate_selector(selector: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """The mistakes in a label selector of `matchLabels` and `matchExpressions`."""
    yield from validate_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for place, one in enumerate(selector.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{place}]"
        values, operator = one.get("values") or (), one.get("operator", "")
        if operator in {"In", "NotIn"}:
            if not values:
                yield required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in {"Exists", "DoesNotExist"}:
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden(f"{here}.values", text)
        else:
            yield invalid(f"{here}.operator", operator, "not a valid selector operator")
        key = one.get("key", "")
        yield from (invalid(f"{here}.key", key, text) for text in names.check_qualified_name(key))
        for index, value in enumerate(values):
            yield from (invalid(f"{here}.values[{index}]", value, text) for text in names.check_label_value(value))
