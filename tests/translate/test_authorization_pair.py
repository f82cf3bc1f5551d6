"""What policies do, seen on two real Envoys: who gets an answer, and who 403."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from mesh_case import load_documents
from test_sidecar_pair import HOST, build_mesh, exchange_line, find_ports, run_echo_app, run_http_app, run_mesh

from lateen.envoy.messages import decode, encode, message_class

LISTENER = "0.0.0.0_80"
FRONTEND = "spiffe://cluster.local/ns/default/sa/frontend"
AUTHORIZER = "authorizer.default.svc.cluster.local"
AUTHORIZER_PORT = 9000

API = {
    "from": [{"source": {"principals": ["cluster.local/ns/default/sa/frontend"]}}],
    "to": [{"operation": {"methods": ["GET", "POST"], "paths": ["/api/*"]}}],
}


def build_policy(name: str, *rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "server"}}, "rules": list(rules), **spec},
    }


SERVICE_PORT_POLICY = build_policy("port", {"to": [{"operation": {"ports": ["80"]}}]}, action="DENY")


def deny_paths(*paths: str) -> dict[str, Any]:
    return build_policy("deny", {"to": [{"operation": {"paths": list(paths)}}]}, action="DENY")


async def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, Any]]:
    """Send a request as it is written, and return status and what the app says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", f"host: {HOST}", "connection: close", "content-length: 0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    try:
        async with asyncio.timeout(20):
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status = int(head.split()[1])
    return status, json.loads(body) if status == 200 else {"refusal": body.decode()}


async def test_only_the_frontend_may_get_and_post_to_the_api(tmp_path: Path) -> None:
    documents = [*build_mesh("http"), build_policy("api", API)]
    async with run_mesh(documents, tmp_path, LISTENER, client_id=FRONTEND) as (ports, _, _), run_http_app(ports.app):
        assert [(await ask(ports.client, "/api/x", method))[0] for method in ("GET", "POST")] == [200, 200]
        assert [(await ask(ports.client, "/api/x", method))[0] for method in ("PUT", "DELETE", "PATCH")] == [403] * 3
        refused = ("/", "/api", "/apis/x", "/API/x", "//api/x", "/api%2fx", "/api/../admin", "/x/../admin/api/")
        for path in refused:
            assert (await ask(ports.client, path))[0] == 403, path
        claim = await ask(ports.server, "/api/x", x_forwarded_client_cert=f"By=x;URI={FRONTEND}")
        assert claim == (403, {"refusal": "RBAC: access denied"}), "without a certificate nobody is the frontend"


async def test_another_identity_is_refused(tmp_path: Path) -> None:
    documents = [*build_mesh("http", "STRICT"), build_policy("api", API)]
    async with run_mesh(documents, tmp_path, LISTENER) as (ports, server, _), run_http_app(ports.app):
        assert (await ask(ports.client, "/api/x", x_forwarded_client_cert=f"URI={FRONTEND}"))[0] == 403
        stats = await server.admin.get_stats()
        assert sum(value for name, value in stats.items() if name.endswith("rbac.denied")) == 1


async def test_deny_beats_allow_and_paths_are_compared_as_normalised(tmp_path: Path) -> None:
    documents = [*build_mesh("http"), build_policy("all", {}), deny_paths("/admin", "/admin/*")]
    decided = {
        "/admin": 403,
        "/admin?x=1": 403,
        "/admin/x": 403,
        "/public/../admin/x": 403,
        "/./admin": 403,
        "/public/%2e%2e/admin": 403,
        "/%61dmin": 403,
        "/\\admin": 200,  # becomes `//admin`
        "/public": 200,
        "/admin/../public": 200,
        "/admin/%2E%2E/public": 200,
        "//admin": 200,  # slashes are not merged, and the app sees both
        "/admin%2fx": 200,  # and an escaped one is no slash
        "/Admin": 200,
    }
    async with run_mesh(documents, tmp_path, LISTENER) as (ports, _, _), run_http_app(ports.app):
        for port in (ports.client, ports.server):
            found = {path: (await ask(port, path)) for path in decided}
            assert {path: status for path, (status, _) in found.items()} == decided
            seen = {path: answer["path"] for path, (status, answer) in found.items() if status == 200}
            assert seen["/admin/../public"] == seen["/admin/%2E%2E/public"] == "/public"
            assert (seen["//admin"], seen["/admin%2fx"]) == ("//admin", "/admin%2fx")


@pytest.mark.parametrize(
    ("normalization", "denied"),
    [
        ("NONE", set()),
        ("BASE", {"/x/../admin"}),
        ("MERGE_SLASHES", {"/x/../admin", "//admin"}),
        ("DECODE_AND_MERGE_SLASHES", {"/x/../admin", "//admin", "/%2fadmin", "/x/..%2Fadmin"}),
    ],
)
async def test_the_mesh_chooses_how_paths_are_normalised(normalization: str, denied: set[str], tmp_path: Path) -> None:
    mesh = build_mesh("http", pathNormalization={"normalization": normalization})
    documents = [*mesh, deny_paths("/admin")]
    paths = ("/x/../admin", "//admin", "/%2fadmin", "/x/..%2Fadmin")
    async with run_mesh(documents, tmp_path, LISTENER) as (ports, _, _), run_http_app(ports.app):
        assert {path for path in paths if (await ask(ports.server, path))[0] == 403} == denied


async def test_the_articles_policy_admits_its_frontend_only(shared: Path, tmp_path: Path) -> None:
    (policy,) = load_documents((shared / "article" / "15-authorizationpolicy-api-access-policy.yaml").read_text())
    policy["metadata"]["namespace"] = "default"
    policy["spec"]["selector"]["matchLabels"]["app"] = "server"
    principal = policy["spec"]["rules"][0]["from"][0]["source"]["principals"][0]
    documents = [*build_mesh("http", "STRICT"), policy]
    for identity, statuses in ((f"spiffe://{principal}", [200, 200, 403]), (FRONTEND, [403, 403, 403])):
        folder = tmp_path / identity.rpartition("/ns/")[2].replace("/", "-")
        await asyncio.to_thread(folder.mkdir)
        async with (
            run_mesh(documents, folder, LISTENER, client_id=identity) as (ports, _, _),
            run_http_app(ports.app),
        ):
            asked = [await ask(ports.client, "/api/x", method) for method in ("GET", "POST", "DELETE")]
            assert [status for status, _ in asked] == statuses


@pytest.mark.parametrize(
    ("policies", "status"),
    [
        pytest.param([], 200, id="no policy"),
        pytest.param([build_policy("nothing")], 403, id="allow nothing"),
        pytest.param([build_policy("nothing"), build_policy("all", {})], 200, id="allow nothing and everything"),
        pytest.param([build_policy("all", {}, action="DENY")], 403, id="deny everything"),
        pytest.param([build_policy("all", {}, action="AUDIT")], 200, id="audit decides nothing"),
        pytest.param([build_policy("broken", {"when": [{"key": "x", "values": ["y"]}]})], 403, id="broken allow"),
        pytest.param([build_policy("broken", action="WHAT")], 403, id="unreadable"),
        pytest.param([SERVICE_PORT_POLICY], 200, id="ports are the pod's, not the service's"),
        pytest.param([build_policy("ask", {}, action="CUSTOM", provider={"name": "x"})], 403, id="unknown authorizer"),
    ],
)
async def test_outcome_of_policies(policies: list[dict[str, Any]], status: int, tmp_path: Path) -> None:
    documents = [*build_mesh("http"), *policies]
    async with run_mesh(documents, tmp_path, LISTENER) as (ports, _, _), run_http_app(ports.app):
        assert (await ask(ports.client, "/"))[0] == status


async def test_dry_run_counts_and_refuses_nobody(tmp_path: Path) -> None:
    policy = build_policy("all", {}, action="DENY")
    policy["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
    async with run_mesh([*build_mesh("http"), policy], tmp_path, LISTENER) as (ports, server, _):
        async with run_http_app(ports.app):
            assert (await ask(ports.client, "/"))[0] == 200
        stats = await server.admin.get_stats()
        assert stats["http.inbound_0.0.0.0_8080;.rbac.istio_dry_run_deny_.shadow_denied"] == 1


CLIENT_RULE = {"from": [{"source": {"principals": ["cluster.local/ns/default/sa/client"]}}]}
GET_RULE = {"to": [{"operation": {"methods": ["GET"]}}]}


@pytest.mark.parametrize(
    ("policy", "answer"),
    [
        pytest.param(build_policy("client", CLIENT_RULE), b"echo hello\n", id="allowed by identity"),
        pytest.param(build_policy("frontend", {"from": API["from"]}), b"", id="another identity"),
        pytest.param(build_policy("get", GET_RULE), b"", id="allowed by method only"),
        pytest.param(build_policy("get", GET_RULE, action="DENY"), b"", id="denied by method counts as denied"),
        pytest.param(build_policy("get", CLIENT_RULE | GET_RULE, action="DENY"), b"", id="denied by the rest"),
        pytest.param(
            build_policy("get", {"from": API["from"]} | GET_RULE, action="DENY"), b"echo hello\n", id="rest differs"
        ),
    ],
)
async def test_connections_are_decided_without_what_only_requests_have(
    policy: dict[str, Any], answer: bytes, tmp_path: Path
) -> None:
    documents = [*build_mesh("tcp"), policy]
    async with run_mesh(documents, tmp_path, "10.96.0.9_80") as (ports, _, _), run_echo_app(ports.app):
        try:
            assert await exchange_line(ports.client) == answer
        except ConnectionResetError:
            assert answer == b""


def build_authorizer_mesh(kind: str, **provider: Any) -> list[dict[str, Any]]:
    """Return a mesh in which paths below /ask are for an authorizer to decide."""
    service = {"service": AUTHORIZER, "port": AUTHORIZER_PORT, **provider}
    ports = [{"name": "grpc", "port": AUTHORIZER_PORT}]
    return [
        *build_mesh("http", extensionProviders=[{"name": "mine", kind: service}]),
        {
            "kind": "Service",
            "metadata": {"name": "authorizer", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.8", "ports": ports},
        },
        build_policy("ask", {"to": [{"operation": {"paths": ["/ask/*"]}}]}, action="CUSTOM", provider={"name": "mine"}),
        deny_paths("/ask/denied"),
    ]


def build_authorizer_cluster(port: int, *, http2: bool) -> dict[str, Any]:
    name = f"outbound|{AUTHORIZER_PORT}||{AUTHORIZER}"
    address = {"socketAddress": {"address": "127.0.0.1", "portValue": port}}
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "loadAssignment": {"clusterName": name, "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}]},
    }
    if http2:
        options = {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicitHttpConfig": {"http2ProtocolOptions": {}},
        }
        cluster["typedExtensionProtocolOptions"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    return cluster


@asynccontextmanager
async def run_http_authorizer(port: int, asked: list[str]) -> AsyncIterator[None]:
    async def decide(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=200 if request.headers.get("x-user") == "admin" else 403)

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", decide)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def run_grpc_authorizer(port: int, asked: list[str]) -> AsyncIterator[None]:
    async def decide(body: bytes, _: Any) -> bytes:
        request = decode("envoy.service.auth.v3.CheckRequest", body).attributes.request.http
        asked.append(request.path)
        code = 0 if request.headers.get("x-user") == "admin" else 7
        return encode(message_class("envoy.service.auth.v3.CheckResponse")(status={"code": code}))

    server = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(decide)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", handlers),)
    )
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.mark.parametrize("kind", ["envoyExtAuthzHttp", "envoyExtAuthzGrpc"])
async def test_an_authorizer_decides_what_its_policies_match(kind: str, tmp_path: Path) -> None:
    http = kind == "envoyExtAuthzHttp"
    documents = build_authorizer_mesh(kind, **({"includeRequestHeadersInCheck": ["x-user"]} if http else {}))
    port, asked = find_ports().app, list[str]()
    clusters = [build_authorizer_cluster(port, http2=not http)]
    run_authorizer = run_http_authorizer if http else run_grpc_authorizer
    async with (
        run_mesh(documents, tmp_path, LISTENER, server_clusters=clusters) as (ports, _, _),
        run_http_app(ports.app),
    ):
        async with run_authorizer(port, asked):
            assert (await ask(ports.client, "/free"))[0] == 200
            assert asked == []
            assert (await ask(ports.client, "/ask/x", x_user="admin"))[0] == 200
            assert (await ask(ports.client, "/ask/y", x_user="guest"))[0] == 403
            assert (await ask(ports.client, "/ask/denied", x_user="admin"))[0] == 403
            assert asked == ["/ask/x", "/ask/y", "/ask/denied"]
        assert (await ask(ports.client, "/ask/z", x_user="admin"))[0] == 403, "who cannot be asked admits nobody"
        assert (await ask(ports.client, "/free"))[0] == 200
