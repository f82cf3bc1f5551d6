"""What the generated configuration does, seen on two real Envoys: identities, protocols, modes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web
from mesh_case import build_database, build_proxy, configure
from sidecar_pair import (
    CLIENT_ID,
    SERVER_ID,
    SERVER_PORT,
    Authority,
    Ports,
    build_client,
    build_server,
    run_pair,
)

HOST = "server.default.svc.cluster.local"
SERVICE_PORT = 80


def build_mesh(port_name: str, mode: str = "PERMISSIVE", **mesh: Any) -> list[dict[str, Any]]:
    """Return a mesh of one service and two pods with sidecars."""

    def build_pod(name: str, address: str) -> dict[str, Any]:
        containers = [{"name": "app", "image": "x"}, {"name": "istio-proxy", "image": "x"}]
        return {
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"serviceAccountName": name, "containers": containers},
            "status": {"phase": "Running", "podIP": address},
        }

    return [
        {
            "kind": "Service",
            "metadata": {"name": "server", "namespace": "default"},
            "spec": {
                "clusterIP": "10.96.0.9",
                "selector": {"app": "server"},
                "ports": [{"name": port_name, "port": SERVICE_PORT, "targetPort": SERVER_PORT}],
            },
        },
        {
            "kind": "EndpointSlice",
            "metadata": {
                "name": "server-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "server"},
            },
            "endpoints": [{"addresses": ["10.244.0.2"], "targetRef": {"kind": "Pod", "name": "server"}}],
            "ports": [{"name": port_name, "port": SERVER_PORT}],
        },
        build_pod("client", "10.244.0.1"),
        build_pod("server", "10.244.0.2"),
        {
            "kind": "PeerAuthentication",
            "metadata": {"name": "default", "namespace": "istio-system"},
            "spec": {"mtls": {"mode": mode}},
        },
        {
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": json.dumps(mesh)},
        },
    ]


def find_ports() -> Ports:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(9)]
    numbers = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return Ports(numbers[0], numbers[1], numbers[2], (numbers[3], numbers[4]), tuple(numbers[5:9]))


async def answer(request: web.Request) -> web.StreamResponse:
    """The app: says what it sees, echoes messages of a web socket."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        messages = web.WebSocketResponse()
        await messages.prepare(request)
        async for message in messages:
            await messages.send_str(f"echo {message.data}")
        return messages
    peer = request.headers.get("x-forwarded-client-cert", "")
    version = f"{request.version.major}.{request.version.minor}"
    return web.json_response({"peer": peer, "version": version, "path": request.raw_path})


@asynccontextmanager
async def run_http_app(port: int) -> AsyncIterator[None]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def run_echo_app(port: int) -> AsyncIterator[None]:
    """An app that speaks bytes: it answers each line with `echo` and the line."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(b"echo " + line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", port)
    async with server:
        yield


@asynccontextmanager
async def run_mesh(
    documents: list[dict[str, Any]],
    folder: Path,
    listener: str,
    *,
    server_id: str = SERVER_ID,
    client_id: str = CLIENT_ID,
    own_authority: bool = False,
    server_clusters: Sequence[dict[str, Any]] = (),
) -> AsyncIterator[tuple[Ports, Any, Any]]:
    """Run both sidecars of a mesh, the server's with further clusters: (ports, server's Envoy, client's Envoy)."""
    database, ports, authority = build_database(documents), find_ports(), Authority()
    server_authority = Authority() if own_authority else authority
    server = build_server(
        configure(database, build_proxy("default", "server", "10.244.0.2")),
        ports,
        folder,
        server_authority.build_secrets(server_id),
    )
    server["staticResources"]["clusters"] += server_clusters
    client = build_client(
        configure(database, build_proxy("default", "client", "10.244.0.1")),
        ports,
        listener,
        folder,
        authority.build_secrets(client_id),
    )
    async with run_pair(server, client, folder) as (server_envoy, client_envoy):
        yield ports, server_envoy, client_envoy


async def get(port: int, host: str = HOST) -> tuple[int, dict[str, Any]]:
    async with (
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/", headers={"Host": host}) as response,
    ):
        return response.status, await response.json() if response.status == 200 else {}


async def exchange_line(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            writer.write(b"hello\n")
            return await reader.readline()
    finally:
        writer.close()


async def read_stat(envoy: Any, name: str) -> int:
    stats = await envoy.admin.get_stats()
    return sum(value for key, value in stats.items() if key.endswith(name))


@pytest.mark.parametrize(
    ("port_name", "listener", "version"),
    [
        pytest.param("http", "0.0.0.0_80", "h2", id="http"),
        pytest.param("http2", "0.0.0.0_80", "h2", id="http2"),
        pytest.param("unnamed", "10.96.0.9_80", "h1", id="detected"),
    ],
)
@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT"])
async def test_requests_go_by_mutual_tls_and_the_app_sees_both_identities(
    port_name: str, listener: str, version: str, mode: str, tmp_path: Path
) -> None:
    async with run_mesh(build_mesh(port_name, mode), tmp_path, listener) as (ports, server, client):
        async with run_http_app(ports.app):
            if port_name != "http2":  # the app behind an http2 port would have to speak it
                status, seen = await get(ports.client)
                assert status == 200
                assert f"By={SERVER_ID}" in seen["peer"]
                assert f"URI={CLIENT_ID}" in seen["peer"]
            else:
                await get(ports.client)
        between = f"outbound|80||{HOST};.upstream_cx_{'http2' if version == 'h2' else 'http1'}_total"
        assert await read_stat(client, between) == 1
        assert await read_stat(server, "ssl.handshake") == 1


async def test_declared_http1_stays_http1_between_sidecars_when_the_mesh_says_so(tmp_path: Path) -> None:
    documents = build_mesh("http", h2UpgradePolicy="DO_NOT_UPGRADE")
    async with run_mesh(documents, tmp_path, "0.0.0.0_80") as (ports, _, client), run_http_app(ports.app):
        assert (await get(ports.client))[0] == 200
        assert await read_stat(client, f"outbound|80||{HOST};.upstream_cx_http1_total") == 1


@pytest.mark.parametrize("port_name", ["http", "unnamed"])
async def test_web_sockets_pass_two_sidecars(port_name: str, tmp_path: Path) -> None:
    listener = "0.0.0.0_80" if port_name == "http" else "10.96.0.9_80"
    async with run_mesh(build_mesh(port_name), tmp_path, listener) as (ports, _, _), run_http_app(ports.app):
        url = f"http://127.0.0.1:{ports.client}/"
        async with ClientSession() as session, session.ws_connect(url, headers={"Host": HOST}) as messages:
            await messages.send_str("hello")
            message = await messages.receive(timeout=10)
            assert (message.type, message.data) == (WSMsgType.TEXT, "echo hello")


@pytest.mark.parametrize("port_name", ["tcp", "unnamed"])
@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT"])
async def test_bytes_go_by_mutual_tls(port_name: str, mode: str, tmp_path: Path) -> None:
    async with run_mesh(build_mesh(port_name, mode), tmp_path, "10.96.0.9_80") as (ports, server, _):
        async with run_echo_app(ports.app):
            assert await exchange_line(ports.client) == b"echo hello\n"
        assert await read_stat(server, "ssl.handshake") == 1
        assert await read_stat(server, "tcp.inbound|8080||.downstream_cx_total") == 1


@pytest.mark.parametrize("port_name", ["http", "unnamed"])
async def test_plain_text_is_served_when_permissive_and_refused_when_strict(port_name: str, tmp_path: Path) -> None:
    listener = "0.0.0.0_80" if port_name == "http" else "10.96.0.9_80"
    for mode in ("PERMISSIVE", "STRICT"):
        (tmp_path / mode).mkdir()
        async with (
            run_mesh(build_mesh(port_name, mode), tmp_path / mode, listener) as (ports, _, _),
            run_http_app(ports.app),
        ):
            if mode == "PERMISSIVE":
                assert (await get(ports.server))[1]["peer"] == ""
            else:
                with pytest.raises(OSError):
                    await get(ports.server)
                assert (await get(ports.client))[0] == 200


async def test_disabled_mutual_tls_means_plain_text_between_sidecars(tmp_path: Path) -> None:
    async with run_mesh(build_mesh("http", "DISABLE"), tmp_path, "0.0.0.0_80") as (ports, server, _):
        async with run_http_app(ports.app):
            assert (await get(ports.client))[1]["peer"] == ""
        assert await read_stat(server, "ssl.handshake") == 0


@pytest.mark.parametrize("fault", ["another identity", "another authority"])
async def test_server_that_is_not_the_service_gets_no_request(fault: str, tmp_path: Path) -> None:
    server_id = "spiffe://cluster.local/ns/default/sa/thief" if fault == "another identity" else SERVER_ID
    async with (
        run_mesh(
            build_mesh("http"),
            tmp_path,
            "0.0.0.0_80",
            server_id=server_id,
            own_authority=fault == "another authority",
        ) as (ports, _, _),
        run_http_app(ports.app),
    ):
        assert (await get(ports.client))[0] == 503


async def test_apps_cannot_claim_an_identity_in_a_header(tmp_path: Path) -> None:
    async with run_mesh(build_mesh("http", "STRICT"), tmp_path, "0.0.0.0_80") as (ports, _, _):
        claim = {"Host": HOST, "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/x/sa/admin"}
        async with (
            run_http_app(ports.app),
            ClientSession() as session,
            session.get(f"http://127.0.0.1:{ports.client}/", headers=claim) as response,
        ):
            assert "sa/admin" not in (await response.json())["peer"]
