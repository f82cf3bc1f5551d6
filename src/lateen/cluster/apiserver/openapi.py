"""The server's OpenAPI documents: the served kinds -> `/openapi/v2`, `/openapi/v3` and one document per group version.

`lateen.api.openapi` builds them, in a thread, when somebody first asks; they are kept gzipped until the served kinds
change. A document asked for with the hash that the index gave may be cached for ever. Source: the Kubernetes page "The
Kubernetes API", section OpenAPI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from lateen.api.kinds import Kind
from lateen.api.openapi import OpenApi, Published
from lateen.cluster.apiserver.custom_resources import CustomResources
from lateen.cluster.apiserver.negotiation import JSON
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Catalogue
from lateen.cluster.apiserver.response import respond, respond_value
from lateen.cluster.apiserver.status import no_such_path, not_acceptable

_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_EMPTY_DOCUMENT = b"\x0a\x032.0"
"""A Swagger document (gnostic's `openapi_v2.Document`) that says its version and no more. kubectl reads Swagger in
this form only, and only for a kind without an OpenAPI v3 document; it then finds no schema and asks the server."""

_OFFERED = frozenset({JSON, "*/*", "application/*", "application/com.github.proto-openapi.spec.v2@v1.0+json"})


class OpenApiPaths:
    """Answers `/openapi` for the kinds that are served at the moment."""

    def __init__(self, catalogue: Catalogue, custom: CustomResources) -> None:
        self._catalogue = catalogue
        self._custom = custom
        self._generation = -1
        self._documents = OpenApi((), self._find_schema)

    async def answer(self, request: Request, parts: list[str]) -> web.Response:
        """One document, `parts` being the path behind `/openapi`; StatusError 404 or 406."""
        accept = request.http.headers.get("Accept") or JSON
        accepted = {entry.partition(";")[0].strip() for entry in accept.split(",")}
        if parts == ["v2"] and _PROTOBUF in accepted and not _OFFERED & accepted:
            return web.Response(body=_EMPTY_DOCUMENT, content_type=_PROTOBUF.replace("@", "."))
        if not _OFFERED & accepted:
            raise not_acceptable((JSON,))
        if self._generation != self._catalogue.generation:
            self._generation = self._catalogue.generation
            self._documents = OpenApi(self._catalogue.registry.all(), self._find_schema)
        documents = self._documents
        if parts == ["v3"]:
            return respond_value(request, await asyncio.to_thread(documents.index))
        published = await asyncio.to_thread(_find, documents, parts)
        if published is None:
            raise no_such_path()
        return _respond(request, published)

    def _find_schema(self, kind: Kind, version: str) -> Mapping[str, Any] | None:
        return self._custom.find_source(kind, version)


def _find(documents: OpenApi, parts: list[str]) -> Published | None:
    match parts:
        case ["v2"]:
            return documents.v2()
        case ["v3", *path]:
            return documents.find_v3("/".join(path))
    return None


def _respond(request: Request, published: Published) -> web.Response:
    tag = f'"{published.etag}"'
    headers = {"ETag": tag, "Vary": "Accept-Encoding, Accept"}
    if request.query.get("hash") == published.etag:
        headers["Cache-Control"] = "public, immutable"
    if request.http.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    if "gzip" in request.http.headers.get("Accept-Encoding", ""):
        response = respond(request, published.gzipped)
        headers["Content-Encoding"] = "gzip"
    else:
        response = respond(request, published.body)
    response.headers.update(headers)
    return response
