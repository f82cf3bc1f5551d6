"""Paths that name no resource: version, health, discovery and OpenAPI.

Discovery comes in both forms (discovery.py); the aggregated one carries an ETag, so that a client that has
it is answered 304. Health is about this process: it answers as soon as the system's objects exist.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lateen.cluster.apiserver.discovery import Discovery
from lateen.cluster.apiserver.negotiation import JSON, accepts_aggregated_discovery
from lateen.cluster.apiserver.openapi import OpenApiPaths
from lateen.cluster.apiserver.request import Request
from lateen.cluster.apiserver.response import respond, respond_large, respond_value
from lateen.cluster.apiserver.status import StatusError, no_such_path

VERSION = {
    "major": "1",
    "minor": "34",
    "emulationMajor": "1",
    "emulationMinor": "34",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "33",
    "gitVersion": "v1.34.2+lateen",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2025-11-11T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The API that is served is that of Kubernetes 1.34; kubectl warns when it is too far from its own version.
"""

_HEALTH = ("healthz", "livez", "readyz")


class Paths:
    """Answers requests that name no resource."""

    def __init__(self, discovery: Discovery, openapi: OpenApiPaths) -> None:
        self._discovery = discovery
        self._openapi = openapi

    async def answer(self, request: Request) -> web.Response:
        """Answer a request; StatusError 404 or 405."""
        if request.method not in ("GET", "HEAD"):
            raise StatusError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        parts = [part for part in request.target.path.split("/") if part]
        match parts:
            case ["version"]:
                return respond_value(request, VERSION)
            case [health, *_] if health in _HEALTH:
                return respond(request, b"ok", media_type="text/plain")
            case ["openapi", *rest]:
                return await self._openapi.answer(request, rest)
            case ["api" | "apis"]:
                return await self._answer_root(request, core=parts == ["api"])
            case []:
                return respond_value(request, {"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]})
        document = self._find_document(parts)
        if document is None:
            raise no_such_path()
        return respond_value(request, document)

    def _find_document(self, parts: list[str]) -> dict[str, Any] | None:
        match parts:
            case ["api", version]:
                return self._discovery.resources("", version)
            case ["apis", group]:
                return self._discovery.group(group)
            case ["apis", group, version]:
                return self._discovery.resources(group, version)
        return None

    async def _answer_root(self, request: Request, *, core: bool) -> web.Response:
        version = accepts_aggregated_discovery(request.http.headers.get("Accept", ""))
        if version is None:
            return respond_value(request, self._discovery.core_versions() if core else self._discovery.groups())
        body, tag = self._discovery.aggregated(version, core=core)
        if request.http.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag, "Vary": "Accept"})
        media_type = f"{JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        response = await respond_large(request, body, JSON)
        response.headers["Content-Type"] = media_type
        response.headers["ETag"] = tag
        response.headers["Vary"] = "Accept"
        return response
