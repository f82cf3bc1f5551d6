"""A small world of real Envoy resources, the ADS server before it, and a record of what was said."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lateen.envoy.bootstrap import ProxyIdentity, build_bootstrap
from lateen.envoy.messages import build_message
from lateen.envoy.process import EnvoyProcess
from lateen.runtime.grpc import build_server, listen_unix
from lateen.runtime.metrics import Metrics
from lateen.xds.index import SubscriptionIndex
from lateen.xds.messages import DeltaRequest, DeltaResponse, decode_delta_request, decode_delta_response
from lateen.xds.resources import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SHORT_NAMES,
    Resource,
    ResourceSet,
    build_resource,
)
from lateen.xds.server import AdsServer, Caller
from lateen.xds.streams import Viewer

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
ADS = {"ads": {}, "resourceApiVersion": "V3"}


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def cluster(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "EDS", "edsClusterConfig": {"edsConfig": ADS}, "connectTimeout": "1s", **fields}


def endpoints(name: str, port: int) -> dict[str, Any]:
    address = {"socketAddress": {"address": "127.0.0.1", "portValue": port}}
    return {"clusterName": name, "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}]}


def listener(name: str, port: int, route: str) -> dict[str, Any]:
    manager = {
        "@type": HCM,
        "statPrefix": name,
        "rds": {"routeConfigName": route, "configSource": ADS},
        "httpFilters": [{"name": "router", "typedConfig": {"@type": ROUTER}}],
    }
    return {
        "name": name,
        "address": {"socketAddress": {"address": "127.0.0.1", "portValue": port}},
        "filterChains": [{"filters": [{"name": "http", "typedConfig": manager}]}],
    }


def route(name: str, *clusters: str, **fields: Any) -> dict[str, Any]:
    routes = [{"match": {"prefix": f"/{each}"}, "route": {"cluster": each}} for each in clusters]
    return {"name": name, "virtualHosts": [{"name": "all", "domains": ["*"], "routes": routes}], **fields}


class EnvoyWorld:
    """type URL -> name -> resource document; clusters and listeners whole, endpoints and routes by name."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Resource]] = {t: {} for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}
        self.index = SubscriptionIndex()
        self.said: list[DeltaRequest | DeltaResponse] = []
        self.ads = AdsServer(self.admit, self.index, Metrics())

    async def admit(self, caller: Caller, node: bytes) -> Viewer:
        return self

    def put(self, type_url: str, *documents: dict[str, Any], removed: Iterable[str] = ()) -> None:
        self.change({type_url: documents}, {type_url: removed})

    def change(self, put: dict[str, Iterable[dict[str, Any]]], removed: dict[str, Iterable[str]] | None = None) -> None:
        """Change several types at once."""
        dirty: set[Hashable] = set()
        for type_url, documents in put.items():
            for document in documents:
                resource = build_resource(build_message(type_url.partition("/")[2], document))
                self.resources[type_url][resource.name] = resource
                dirty |= {(type_url, None), (type_url, resource.name)}
        for type_url, names in (removed or {}).items():
            for name in names:
                del self.resources[type_url][name]
                dirty |= {(type_url, None), (type_url, name)}
        for _ in self.index.mark(dirty):
            pass

    def find_call(self, type_url: str, name: str | None) -> Hashable | None:
        if type_url in (CLUSTER, LISTENER):
            return (type_url, None) if name is None else None
        return (type_url, name) if name is not None and type_url in self.resources else None

    async def ask(self, calls: Iterable[Hashable | None]) -> list[ResourceSet | Resource | None]:
        return [self.find(call) for call in calls]

    def find(self, call: Hashable | None) -> ResourceSet | Resource | None:
        match call:
            case (str(type_url), None):
                return ResourceSet(self.resources[type_url].values())
            case (str(type_url), str(name)):
                return self.resources[type_url].get(name)
            case _:
                return None

    def transcript(self, start: int = 0) -> list[str]:
        """What was said, a line each: `> ` is Envoy, `< ` the server."""
        return [_describe(message) for message in self.said[start:]]

    @asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[None]:
        server = build_server([self.ads.build_handler(is_encrypted=False)])
        listen_unix(server, path)
        await server.start()
        run = self.ads._run

        async def record(caller: Caller, viewer: Viewer, first: DeltaRequest, requests: Any, context: Any) -> None:
            self.said.append(first)

            async def read() -> AsyncIterator[bytes]:
                async for data in requests:
                    self.said.append(decode_delta_request(data))
                    yield data

            class Recorder:
                async def write(_, data: bytes) -> None:
                    self.said.append(decode_delta_response(data))
                    await context.write(data)

            await run(caller, viewer, first, read(), Recorder())  # type: ignore[arg-type]

        self.ads._run = record  # type: ignore[method-assign]
        try:
            yield
        finally:
            self.ads._run = run  # type: ignore[method-assign]
            await server.stop(None)


def _describe(message: DeltaRequest | DeltaResponse) -> str:
    short = SHORT_NAMES.get(message.type_url, message.type_url)
    if isinstance(message, DeltaResponse):
        return " ".join(["<", short, *(f"+{n}" for n in message.resources), *(f"-{n}" for n in message.removed)])
    said = [">", short, *(f"+{n}" for n in message.subscribe), *(f"-{n}" for n in message.unsubscribe)]
    said += [f"have {name}" for name in message.versions]
    if message.nonce:
        said.append("ACK" if message.error is None else f"NACK {message.error}")
    return " ".join(said)


@asynccontextmanager
async def run_envoy(folder: Path, ads_socket: Path, *, log_level: str = "warning") -> AsyncIterator[EnvoyProcess]:
    bootstrap = build_bootstrap(
        ProxyIdentity(name="client", namespace="default", ip="127.0.0.1"),
        str(ads_socket),
        mark=None,
        admin_port=0,
        readiness_port=find_free_port(),
        prometheus_port=find_free_port(),
        listener_address="127.0.0.1",
    )
    async with EnvoyProcess(bootstrap, folder, log_level=log_level) as envoy:
        yield envoy


@asynccontextmanager
async def run_backend(answer: str) -> AsyncIterator[int]:
    """An HTTP server that says `answer`, and its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline() not in (b"\r\n", b""):
            pass
        writer.write(f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(answer)}\r\n\r\n{answer}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        yield port
