"""Which objects a list, watch or deletion means: namespace, label and field selectors -> matches(revision).

Names and namespaces are answered from the storage key and labels from a part that is decoded once per
revision; only other fields decode the document. Source: the Kubernetes pages on labels and on field
selectors.
"""

from __future__ import annotations

from lateen.api.selectors import FieldSelector, FieldTerm, parse_field_selector
from lateen.base.errors import DataError
from lateen.base.labels import Selector, parse_selector
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.status import bad_request
from lateen.cluster.revisions import Revision


class Selection:
    """The objects of one resource that a request means."""

    __slots__ = ("_fields", "_labels", "_names", "name", "namespace", "resource")

    def __init__(self, resource: Resource, namespace: str, labels: Selector, fields: FieldSelector) -> None:
        self.resource = resource
        self.namespace = namespace
        self._labels = labels if labels.requirements else None
        self._names = [term for term in fields.terms if term.field.startswith("metadata.")]
        self._fields = FieldSelector(tuple(term for term in fields.terms if term not in self._names))
        self.name = fields.exact("metadata.name")

    @property
    def everything(self) -> bool:
        """Whether no selector narrows the namespace down."""
        return self._labels is None and not self._names and not self._fields.terms

    def matches(self, revision: Revision) -> bool:
        """Whether the object in this state is meant."""
        if self.namespace and revision.key.namespace != self.namespace:
            return False
        if self._labels is not None and not self._labels.matches(revision.labels):
            return False
        if self._names and not all(_matches_key(term, revision) for term in self._names):
            return False
        return not self._fields.terms or self._fields.matches(revision.document())


def _matches_key(term: FieldTerm, revision: Revision) -> bool:
    value = revision.key.name if term.field == "metadata.name" else revision.key.namespace
    return (value == term.value) is term.equal


def parse_selection(request: Request, resource: Resource) -> Selection:
    """The selection of a request's namespace and query; StatusError 400 for a selector that is none."""
    label_text, field_text = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
    try:
        labels = parse_selector(label_text)
    except DataError as error:
        raise bad_request(f"unable to parse requirement: {error.message}") from None
    if name := request.target.name:
        field_text = f"{field_text},metadata.name={name}" if field_text else f"metadata.name={name}"
    kind = resource.kind
    try:
        fields = parse_field_selector(field_text, group=kind.group, kind=kind.kind)
    except DataError as error:
        raise bad_request(
            f'Unable to find "{resource.api_version}, Resource={kind.plural}" that match label '
            f'selector "{label_text}", field selector "{field_text}": {error.message}'
        ) from None
    return Selection(resource, request.target.namespace, labels, fields)
