"""Is this a document of that kind? What an API server asks before it stores one.

    decode_document(kind, version, document, schema) -> Accepted(document, warnings), or DocumentError (400)
    validate(kind, document, schema, old=...)        -> FieldErrors (422), empty when it may be stored

Unknown fields refuse the document (Strict), warn (Warn) or go silently (Ignore); a wrong JSON type refuses
a built-in kind at once, as Go's decoder does, and is a field error of a custom one. Documents are judged
after `defaults.apply_defaults`. Source: the Kubernetes pages "Server Side Field Validation" and the API
reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from lateen.api.kinds import Kind
from lateen.api.schema import configuration, extensions, pods, services, workloads
from lateen.api.schema.decoding import decode_builtin
from lateen.api.schema.definitions import follow
from lateen.api.schema.errors import FieldError, required
from lateen.api.schema.metadata import validate_metadata, validate_metadata_update
from lateen.api.schema.model import Schema
from lateen.api.schema.structural import prune
from lateen.api.schema.structural_validation import validate_structural
from lateen.base.errors import DataError

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

#: kube-apiserver stops naming unknown fields after this many.
_MOST_WARNINGS = 100


class DocumentError(DataError):
    """A document that cannot be read as its kind: the API server answers 400 BadRequest with this message."""


class Accepted(msgspec.Struct, frozen=True):
    """The document as its kind holds it, and what the client shall be warned of."""

    document: dict[str, Any]
    warnings: tuple[str, ...] = ()


def decode_document(
    kind: Kind,
    version: str,
    document: dict[str, Any],
    schema: Schema | None,
    *,
    field_validation: str = "Warn",
) -> Accepted:
    """The document without fields its kind does not know; DocumentError says why it is none of that kind.

    Without a schema only the metadata is judged.
    """
    found, unknown, mismatch = _read(kind, document, schema)
    prefix = f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: '
    if mismatch is not None:
        raise DocumentError(prefix + mismatch)
    warnings = tuple(f'unknown field "{path}"' for path in unknown[:_MOST_WARNINGS])
    if field_validation == "Strict" and warnings:
        raise DocumentError(f"{prefix}strict decoding error: {', '.join(warnings)}")
    return Accepted(found, () if field_validation == "Ignore" else warnings)


def _read(
    kind: Kind, document: dict[str, Any], schema: Schema | None
) -> tuple[dict[str, Any], tuple[str, ...], str | None]:
    if schema is not None and kind.builtin:
        decoded = decode_builtin(document, schema, kind.kind)
        return decoded.document, decoded.unknown, decoded.mismatch
    found, unknown = (document, ()) if schema is None else prune(document, schema)
    metadata = document.get("metadata")
    if metadata is None:
        return found, unknown, None
    wrapper = Schema(type="object", properties={"metadata": Schema(ref=_OBJECT_META)})
    decoded = decode_builtin({"metadata": metadata}, wrapper, kind.kind)
    return found | decoded.document, decoded.unknown + unknown, decoded.mismatch


_Check = Callable[[Mapping[str, Any], Mapping[str, Any] | None], Iterator[FieldError]]


def _validate_pod(pod: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[FieldError]:
    yield from pods.validate_pod_spec(pod.get("spec") or {}, "spec")
    if old is not None:
        yield from pods.validate_pod_update(pod, old)


def _validate_pod_template(template: Mapping[str, Any], _old: Mapping[str, Any] | None) -> Iterator[FieldError]:
    return pods.validate_template(template.get("template") or {}, "template")


_ADMISSION = "admissionregistration.k8s.io"

#: (group, kind) -> its own rules; other built-in kinds are checked for missing text only.
_CHECKS: dict[tuple[str, str], _Check] = {
    ("", "Pod"): _validate_pod,
    ("", "PodTemplate"): _validate_pod_template,
    ("", "Service"): services.validate_service,
    ("", "ConfigMap"): configuration.validate_config_map,
    ("", "Secret"): configuration.validate_secret,
    **{
        ("apps", kind): workloads.validate_workload for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
    },
    ("batch", "Job"): workloads.validate_job,
    ("batch", "CronJob"): workloads.validate_cron_job,
    **{(configuration.RBAC, kind): configuration.validate_role for kind in ("Role", "ClusterRole")},
    **{(configuration.RBAC, kind): configuration.validate_binding for kind in ("RoleBinding", "ClusterRoleBinding")},
    ("apiextensions.k8s.io", "CustomResourceDefinition"): extensions.validate_definition,
    **{
        (_ADMISSION, kind): extensions.validate_webhooks
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    },
}


def validate(
    kind: Kind,
    document: dict[str, Any],
    schema: Schema | None,
    *,
    old: dict[str, Any] | None = None,
    subresource: str = "",
) -> list[FieldError]:
    """Every reason not to store the document; `old` is what an update replaces.

    An update of a subresource (`status`) is judged by metadata and, for a custom kind, by the schema.
    """
    errors: Iterable[FieldError]
    errors = validate_metadata(kind, document) if old is None else validate_metadata_update(document, old)
    found = list(errors)
    if not kind.builtin:
        found += validate_structural(document, schema) if schema is not None else ()
    elif not subresource:
        check = _CHECKS.get((kind.group, kind.kind))
        if check is not None:
            found += check(document, old)
        elif schema is not None:
            found += _find_missing(document, follow(schema), "")
    return list(dict.fromkeys(found))


def _find_missing(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    """The text that Kubernetes' schema requires and the document lacks, outside status and metadata."""
    if isinstance(value, list) and schema.items is not None:
        items = follow(schema.items)
        for index, item in enumerate(value):
            yield from _find_missing(item, items, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    for name, child in schema.properties.items():
        if not path and name in {"status", "metadata"}:
            continue
        place = f"{path}.{name}" if path else name
        resolved = follow(child)
        if name in value:
            yield from _find_missing(value[name], resolved, place)
        elif name in schema.required and resolved.type == "string":
            yield required(place)
