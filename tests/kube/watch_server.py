"""A small API server over TLS that speaks list and watch, with the failures that clients must survive."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from lateen.cluster.pki import Pki, open_pki
from lateen.kube.config import ClientConfig

KINDS = {"configmaps": "ConfigMap"}


class WatchServer:
    """ConfigMaps with a history; `compact` forgets it, `disconnect` drops every watch, `refuse` answers 503."""

    def __init__(self) -> None:
        self.version = 100
        self.oldest = 100
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, dict[str, Any]]] = []
        self.requests: list[str] = []
        self.tokens = {"good"}
        self.refusing = False
        self.page: int | None = None
        self._changed = asyncio.Condition()
        self._dropped = 0

    async def put(self, name: str, *, uid: str | None = None, **data: str) -> None:
        self.version += 1
        known = self.objects.get(name)
        document = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": uid or (known["metadata"]["uid"] if known else f"uid-{self.version}"),
                "resourceVersion": str(self.version),
                "managedFields": [{"manager": "test"}],
            },
            "data": data,
        }
        self.objects[name] = document
        await self._tell("MODIFIED" if known else "ADDED", document)

    async def delete(self, name: str) -> None:
        self.version += 1
        document = self.objects.pop(name)
        document["metadata"]["resourceVersion"] = str(self.version)
        await self._tell("DELETED", document)

    async def bookmark(self) -> None:
        await self._tell("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    async def compact(self) -> None:
        self.oldest = self.version
        self.history.clear()

    async def disconnect(self) -> None:
        async with self._changed:
            self._dropped += 1
            self._changed.notify_all()

    async def _tell(self, type: str, document: dict[str, Any]) -> None:
        full = {"apiVersion": "v1", "kind": "ConfigMap", **document}
        async with self._changed:
            self.history.append((self.version, {"type": type, "object": json.loads(json.dumps(full))}))
            self._changed.notify_all()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        if self.refusing:
            return web.Response(status=503, text="not now")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return _status(401, "Unauthorized", "who are you?")
        if "watch" in request.query:
            return await self._watch(request)
        if request.method == "GET":
            return self._list(request)
        return web.json_response({"method": request.method, "body": (await request.read()).decode()})

    def _list(self, request: web.Request) -> web.Response:
        names = sorted(self.objects)
        start = int(request.query.get("continue", "0"))
        size = self.page or len(names)
        metadata: dict[str, str] = {"resourceVersion": str(self.version)}
        if start + size < len(names):
            metadata["continue"] = str(start + size)
        items = [self.objects[name] for name in names[start : start + size]]
        return web.json_response({"kind": "ConfigMapList", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            return _status(410, "Expired", "too old resource version")
        response = web.StreamResponse()
        await response.prepare(request)
        dropped, sent = self._dropped, 0
        while self._dropped == dropped:
            events = [event for version, event in self.history if version > since]
            for event in events[sent:]:
                await response.write(json.dumps(event).encode() + b"\n")
            if sent == len(events):
                async with self._changed:
                    await self._changed.wait()
            sent = len(events)
        return response


def _status(code: int, reason: str, message: str) -> web.Response:
    status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(status, status=code)


@asynccontextmanager
async def serve(directory: Path) -> AsyncIterator[tuple[WatchServer, ClientConfig, Pki]]:
    pki = open_pki(directory)
    server = WatchServer()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=pki.build_server_context())
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield server, ClientConfig(server=f"https://127.0.0.1:{port}", ca_pem=pki.ca_pem, token="good"), pki
    finally:
        await server.disconnect()
        await runner.cleanup()
