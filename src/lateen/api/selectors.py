"""Field selectors: text -> FieldSelector -> does this document match?

Terms `path=value`, `path==value` and `path!=value` joined by commas, with backslash escapes of `\\`, `,`
and `=`. Each kind knows a short list of selectable fields, `metadata.name` and `metadata.namespace` always;
a CRD adds its `selectableFields`. A missing field counts as the empty string, false for a boolean. Source:
the page "Field Selectors" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from lateen.base.errors import DataError

_EVENT = frozenset(
    {f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")}
    | {"involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"}
)
_POD = frozenset(
    f"spec.{name}"
    for name in ("nodeName", "restartPolicy", "schedulerName", "serviceAccountName", "hostNetwork", "host")
) | {"status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"}

#: (group, kind) -> what may be selected by besides name and namespace.
_SELECTABLE: dict[tuple[str, str], frozenset[str]] = {
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("", "Pod"): _POD,
    ("", "Namespace"): frozenset({"status.phase"}),
    ("", "Node"): frozenset({"spec.unschedulable"}),
    ("", "ReplicationController"): frozenset({"status.replicas"}),
    ("", "Secret"): frozenset({"type"}),
    ("", "Service"): frozenset({"spec.clusterIP", "spec.type"}),
    ("apps", "ReplicaSet"): frozenset({"status.replicas"}),
    ("batch", "Job"): frozenset({"status.successful"}),
    ("certificates.k8s.io", "CertificateSigningRequest"): frozenset({"spec.signerName"}),
}
_ALWAYS = frozenset({"metadata.name", "metadata.namespace"})

#: field -> where the value stands in the document, where these differ; the first that is not empty counts.
_PLACES = {
    "spec.host": ("spec.nodeName",),
    "status.podIPs": ("status.podIP",),
    "status.successful": ("status.succeeded",),
    "source": ("source.component", "deprecatedSource.component", "reportingComponent", "reportingController"),
    "reportingComponent": ("reportingComponent", "reportingController"),
} | {path: (path, path.replace("involvedObject", "regarding")) for path in _EVENT if path.startswith("involved")}

_DEFAULTS = {
    "spec.hostNetwork": "false",
    "spec.unschedulable": "false",
    "status.successful": "0",
    "status.replicas": "0",
}


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition: the field has (or, `equal` being false, has not) that value."""

    field: str
    value: str
    equal: bool = True

    def matches(self, document: dict[str, Any]) -> bool:
        """Whether the document meets the condition."""
        return (_value_of(document, self.field) == self.value) is self.equal


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions that must all hold; none of them matches everything."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, document: dict[str, Any]) -> bool:
        """Whether the document meets every condition."""
        return all(term.matches(document) for term in self.terms)

    def exact(self, field: str) -> str | None:
        """The one value that the field must have, None when the selector leaves it open: lets a list become
        a get.
        """
        return next((term.value for term in self.terms if term.equal and term.field == field), None)


def parse_field_selector(text: str, *, group: str = "", kind: str = "", extra: Collection[str] = ()) -> FieldSelector:
    """The selector that the text means for objects of a kind; `extra` are the `selectableFields` of its CRD.

    DataError when the text is no selector or names a field that the kind does not offer.
    """
    offered = _ALWAYS | _SELECTABLE.get((group, kind), frozenset()) | {path.removeprefix(".") for path in extra}
    terms = tuple(_parse_term(text, part) for part in _split(text) if part)
    for term in terms:
        if term.field not in offered:
            raise DataError(f"field label not supported: {term.field}")
    return FieldSelector(terms)


def _split(text: str) -> list[str]:
    parts, current, escaped = [], "", False
    for character in text:
        if character == "," and not escaped:
            parts.append(current)
            current = ""
            continue
        escaped = character == "\\" and not escaped
        current += character
    return [*parts, current]


def _parse_term(text: str, part: str) -> FieldTerm:
    for position, character in enumerate(part):
        if part.startswith("!=", position):
            return FieldTerm(part[:position], _unescape(part[position + 2 :]), equal=False)
        if character == "=":
            width = 2 if part.startswith("==", position) else 1
            return FieldTerm(part[:position], _unescape(part[position + width :]))
    raise DataError(f"invalid selector: '{text}'; can't understand '{part}'")


def _unescape(value: str) -> str:
    result, escaped = "", False
    for character in value:
        if escaped:
            if character not in "\\,=":
                raise DataError(f"invalid field selector: invalid escape sequence: \\{character}")
            result, escaped = result + character, False
        elif character == "\\":
            escaped = True
        elif character in ",=":
            raise DataError(f"invalid field selector: unescaped character in value: {character}")
        else:
            result += character
    if escaped:
        raise DataError("invalid field selector: invalid escape sequence: \\")
    return result


def _value_of(document: dict[str, Any], field: str) -> str:
    for path in _PLACES.get(field, (field,)):
        value: Any = document
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and value != "":
            return ("true" if value else "false") if isinstance(value, bool) else str(value)
    return _DEFAULTS.get(field, "")
