"""Is this document what its kind allows? Decoding, defaults and validation, with refusals as the API server words them.

The rules are lateen.api.schema's; here they meet requests: `fieldValidation` chooses between refusing
unknown fields, warning of them and dropping them silently. Source: the Kubernetes page "API Concepts",
section "Field validation".
"""

from __future__ import annotations

import json
from typing import Any

from lateen.api.schema.defaults import apply_defaults
from lateen.api.schema.errors import invalid as invalid_value
from lateen.api.schema.validation import DocumentError, decode_document, validate
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.status import bad_request, invalid

Document = dict[str, Any]

_MODES = ("Ignore", "Warn", "Strict")
_STRICT_PREFIX = "strict decoding error: "


def decode(request: Request, resource: Resource, document: Document) -> Document:
    """The document as its kind holds it; StatusError 400 for wrong types, and for unknown fields if strict."""
    mode = request.query.get("fieldValidation") or "Warn"
    if mode not in _MODES:
        text = f'fieldValidation: Unsupported value: "{mode}": supported values: {", ".join(_MODES)}'
        raise bad_request(text)
    repeated = [f'duplicate field "{path}"' for path in request.repeated_fields]
    if repeated and mode == "Strict":
        raise bad_request(f"{_describe(resource)}{_STRICT_PREFIX}{', '.join(repeated)}")
    try:
        accepted = decode_document(resource.kind, resource.version, document, resource.schema, field_validation=mode)
    except DocumentError as error:
        _, strict, fields = error.message.partition(_STRICT_PREFIX)
        if strict and request.method == "PATCH":
            wrong = invalid_value("patch", json.dumps(document), strict + fields)
            raise invalid(resource.kind, document["metadata"].get("name", ""), [wrong]) from None
        raise bad_request(error.message) from None
    request.warnings += [*repeated, *accepted.warnings]
    return accepted.document


def _describe(resource: Resource) -> str:
    kind = resource.kind.kind
    return f'{kind} in version "{resource.version}" cannot be handled as a {kind}: '


def prune(resource: Resource, document: Document) -> Document:
    """The document without unknown fields, whoever put them in; StatusError 400 for wrong types."""
    try:
        return decode_document(
            resource.kind, resource.version, document, resource.schema, field_validation="Ignore"
        ).document
    except DocumentError as error:
        raise bad_request(error.message) from None


def default(resource: Resource, document: Document) -> Document:
    """The document with every default of its kind; the given one may be changed."""
    return apply_defaults(resource.kind, document, resource.schema)


def check(resource: Resource, document: Document, stored: Document | None, *, subresource: str = "") -> None:
    """Refuse a document that breaks a rule of its kind; StatusError 422 naming every field."""
    errors = validate(resource.kind, document, resource.schema, old=stored, subresource=subresource)
    if errors:
        raise invalid(resource.kind, document["metadata"].get("name", ""), errors)
