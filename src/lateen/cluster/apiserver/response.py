"""Answers on the wire: stored bytes or JSON values -> aiohttp responses in the form the client asked for.

Objects go out as the bytes that were stored; a list is those bytes joined. Only a Table, bare metadata or
YAML decodes them. Large answers are compressed if the client takes gzip, as kube-apiserver does.
"""

from __future__ import annotations

import asyncio
import datetime
import gzip
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import yaml
from aiohttp import web

from lateen.api.tables import build_table
from lateen.cluster.apiserver.negotiation import YAML, Form, negotiate
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.status import StatusError
from lateen.cluster.revisions import Revision

COMPRESS_BYTES = 128 << 10
"""Answers above this size are compressed, as in kube-apiserver."""

_ENCODER = msgspec.json.Encoder()


def respond(request: Request, body: bytes, *, status: int = 200, media_type: str = "application/json") -> web.Response:
    """A response with JSON (or other) bytes and the request's warnings."""
    response = web.Response(body=body, status=status, content_type=media_type)
    add_warnings(request, response)
    return response


def add_warnings(request: Request, response: web.StreamResponse) -> None:
    """Put the warnings gathered so far into the headers, each once."""
    for warning in dict.fromkeys(request.warnings):
        text = warning.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        response.headers.add("Warning", f'299 - "{text}"')


async def respond_large(request: Request, body: bytes, media_type: str) -> web.Response:
    """A response that is compressed when it is large and the client takes gzip."""
    if len(body) < COMPRESS_BYTES or "gzip" not in request.http.headers.get("Accept-Encoding", ""):
        return respond(request, body, media_type=media_type)
    packed = await asyncio.to_thread(gzip.compress, body, 1)
    response = respond(request, packed, media_type=media_type)
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    return response


def respond_value(request: Request, value: Any, *, status: int = 200) -> web.Response:
    """A response with a JSON value, in YAML if the client asks for it."""
    form = negotiate(request.http.headers.get("Accept", ""))
    if form.media_type == YAML:
        return respond(request, _encode_yaml(value), status=status, media_type=YAML)
    return respond(request, _ENCODER.encode(value), status=status)


def respond_error(request: Request | None, error: StatusError) -> web.Response:
    """The Status object of a refusal, always JSON."""
    response = web.Response(
        body=_ENCODER.encode(error.build_status()), status=error.code, content_type="application/json"
    )
    for name, value in error.headers.items():
        response.headers[name] = value
    if "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    if request is not None:
        add_warnings(request, response)
    return response


def respond_object(request: Request, resource: Resource, revision: Revision, *, status: int = 200) -> web.Response:
    """One object in the form that the client asks for."""
    form = negotiate(request.http.headers.get("Accept", ""))
    if not form.as_kind and form.media_type != YAML:
        return respond(request, resource.encode(revision), status=status)
    value = shape(form, resource, [resource.document(revision)], request)
    if form.as_kind == "Table":
        value["metadata"] = {"resourceVersion": str(revision.version)}
    elif form.as_kind:
        value = value["items"][0]
    else:
        value = resource.document(revision)
    return _respond_form(request, form, value, status=status)


async def respond_list(
    request: Request, resource: Resource, revisions: Sequence[Revision], metadata: dict[str, Any]
) -> web.Response:
    """A list with its metadata in the form that the client asks for."""
    form = negotiate(request.http.headers.get("Accept", ""))
    if not form.as_kind and form.media_type != YAML:
        body = encode_list(resource, (resource.encode(revision) for revision in revisions), metadata)
        return await respond_large(request, body, form.media_type)
    value = shape(form, resource, [resource.document(revision) for revision in revisions], request)
    value["metadata"] = metadata
    return _respond_form(request, form, value)


def encode_list(resource: Resource, items: Iterable[bytes], metadata: dict[str, Any]) -> bytes:
    """The JSON of a list of encoded objects."""
    head = f'{{"kind":"{resource.kind.list_kind}","apiVersion":"{resource.api_version}","metadata":'
    return b"".join((head.encode(), _ENCODER.encode(metadata), b',"items":[', b",".join(items), b"]}\n"))


def shape(form: Form, resource: Resource, documents: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    """Documents as a Table, as a list of bare metadata, or as the list that they are."""
    if form.as_kind == "Table":
        table = build_table(
            resource.kind,
            documents,
            now=datetime.datetime.now(datetime.UTC),
            include_object=request.query.get("includeObject") or "Metadata",
            version=resource.version,
        )
        return table | {"kind": "Table", "apiVersion": f"{form.group}/{form.version}"}
    if form.as_kind:
        api_version = f"{form.group}/{form.version}"
        items = [
            {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": document["metadata"]}
            for document in documents
        ]
        return {"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": {}, "items": items}
    return {
        "kind": resource.kind.list_kind,
        "apiVersion": resource.api_version,
        "metadata": {},
        "items": documents,
    }


def _respond_form(request: Request, form: Form, value: dict[str, Any], *, status: int = 200) -> web.Response:
    if form.media_type == YAML:
        return respond(request, _encode_yaml(value), status=status, media_type=YAML)
    return respond(request, _ENCODER.encode(value), status=status)


def _encode_yaml(value: Any) -> bytes:
    return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False).encode()
