"""Port 15020: readiness, the app's probes, metrics, and who may end the proxy."""

import asyncio
import contextlib
import socket

import grpc
import grpc.aio
import pytest

from lateen.envoy.bootstrap import ADMIN_PORT
from lateen.runtime.tls import build_server_context
from lateen.testing.poll import until

READY = "cluster_manager.cds.update_success 1 listener_manager.lds.update_rejected 1 server.state 0 workers 1"
STATS = {
    "ready": {
        "cluster_manager.cds.update_success": 1,
        "listener_manager.lds.update_rejected": 1,
        "server.state": 0,
        "listener_manager.workers_started": 1,
    },
    "no listeners": {
        "cluster_manager.cds.update_success": 1,
        "server.state": 0,
        "listener_manager.workers_started": 1,
    },
    "draining": {
        "cluster_manager.cds.update_success": 1,
        "listener_manager.lds.update_success": 1,
        "server.state": 1,
        "listener_manager.workers_started": 1,
    },
    "no workers": {
        "cluster_manager.cds.update_success": 1,
        "listener_manager.lds.update_success": 1,
        "server.state": 0,
        "listener_manager.workers_started": 0,
    },
}


class App:
    """A TCP server that answers HTTP by path and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.peers: list[str] = []
        self.answers = {"/healthy": "200 OK", "/moved": "302 Found", "/sick": "503 Unavailable"}
        self.bodies = {"/metrics": "app_requests 7\n"}
        self.port = 0

    async def answer(self, reader, writer):
        self.peers.append(writer.get_extra_info("peername")[0])
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            path = head.split(" ")[1]
            if path != "/slow":
                body = self.bodies.get(path, "")
                status = self.answers.get(path, "200 OK")
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            else:
                await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def serve_app(*, ssl=None):
    app = App()
    server = await asyncio.start_server(app.answer, "127.0.0.1", 0, ssl=ssl)
    app.port = server.sockets[0].getsockname()[1]
    async with server:
        yield app


@contextlib.asynccontextmanager
async def serve_admin(node, uid, stats):
    """An Envoy as far as its admin port shows."""
    asked = []

    async def answer(reader, writer):
        import json

        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.split("\r\n")[0])
        values = [{"name": name, "value": value} for name, value in stats.items()]
        body = "envoy_server_live 1\n" if "/stats/prometheus" in head else json.dumps({"stats": values})
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    node.routes[uid, ADMIN_PORT] = server.sockets[0].getsockname()[1]
    async with server:
        yield asked


@pytest.mark.parametrize(
    ("stats", "status", "says"),
    [
        ("ready", 200, ""),
        ("no listeners", 503, "no listeners from discovery"),
        ("draining", 503, "not live"),
        ("no workers", 503, "workers"),
    ],
)
async def test_readiness_is_what_envoy_says(agent, node, stats, status, says):
    pod = await node.add_pod("web")
    async with serve_admin(node, "web", STATS[stats]):
        got, text = await pod.get("/healthz/ready")
    assert (got, says in text) == (status, True)


async def test_a_proxy_that_is_not_there_is_not_ready(agent, node):
    pod = await node.add_pod("web")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node.routes["web", ADMIN_PORT] = taken.getsockname()[1]
    status, text = await pod.get("/healthz/ready")
    assert status == 503
    assert "Envoy proxy is NOT ready" in text


@pytest.mark.parametrize(("path", "status"), [("/healthy", 200), ("/moved", 302), ("/sick", 503), ("/slow", 500)])
async def test_a_rewritten_probe_tells_the_apps_own_status(agent, node, path, status):
    async with serve_app() as app:
        headers = [{"name": "host", "value": "web.example"}, {"name": "X-Probe", "value": "1"}]
        get = {"path": path, "port": app.port, "httpHeaders": headers}
        probes = {"/app-health/web/livez": {"httpGet": get, "timeoutSeconds": 1}}
        pod = await node.add_pod("web", probes=probes)
        assert (await pod.get("/app-health/web/livez"))[0] == status
        assert "Host: web.example" in app.requests[0]
        assert "X-Probe: 1" in app.requests[0]
        assert app.peers == ["127.0.0.6"]
        assert (await pod.get("/app-health/web/readyz"))[0] == 404


async def test_a_probe_over_https_needs_no_certificate_that_anyone_trusts(agent, node, discovery):
    from datetime import UTC, datetime

    pair = discovery.authority.issue_serving(["elsewhere.example"], now=datetime.now(UTC))
    async with serve_app(ssl=build_server_context(pair)) as app:
        get = {"path": "/healthy", "port": app.port, "scheme": "HTTPS"}
        pod = await node.add_pod("web", probes={"/app-health/web/readyz": {"httpGet": get}})
        assert (await pod.get("/app-health/web/readyz"))[0] == 200


async def test_a_tcp_probe_succeeds_while_the_port_is_open(agent, node):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        pod = await node.add_pod("web", probes={"/app-health/web/startupz": {"tcpSocket": {"port": port}}})
        assert (await pod.get("/app-health/web/startupz"))[0] == 200
    assert (await pod.get("/app-health/web/startupz"))[0] == 500


async def test_a_grpc_probe_asks_the_apps_health_service(agent, node):
    async def check(request, context):
        if request[2:] == b"unknown":
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return b"\x08\x02" if request[2:] == b"ill" else b"\x08\x01"

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    services = {"": 200, "ill": 500, "unknown": 500}
    probes = {f"/app-health/web/{name}": {"grpc": {"port": port, "service": name}} for name in services}
    try:
        pod = await node.add_pod("web", probes=probes)
        found = {name: (await pod.get(f"/app-health/web/{name}"))[0] for name in services}
    finally:
        await server.stop(None)
    assert found == services


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"path": "/a\r\nX: y", "port": 80}},
        {"httpGet": {"path": "/", "port": "http"}},
        {"tcpSocket": {"port": 0}},
        {"exec": {"command": ["true"]}},
    ],
    ids=["line break", "named port", "no port", "exec"],
)
async def test_a_probe_that_cannot_be_made_fails_with_the_reason(agent, node, probe):
    pod = await node.add_pod("web", probes={"/app-health/web/livez": probe})
    status, text = await pod.get("/app-health/web/livez")
    assert status == 500
    assert text


async def test_metrics_of_envoy_agent_and_app_come_in_one(agent, node, discovery):
    async with serve_app() as app, serve_admin(node, "web", {}):
        annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": str(app.port)}
        pod = await node.add_pod("web", annotations=annotations)
        await until(lambda: discovery.issued >= 1)
        status, text = await pod.get("/stats/prometheus")
    assert status == 200
    for line in ("envoy_server_live 1", "istio_agent_num_outgoing_requests 1", "app_requests 7"):
        assert line in text.splitlines()
    assert "PRIVATE" not in text


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("/quitquitquit", "POST /quitquitquit HTTP/1.1"),
        ("/drain", "POST /drain_listeners?inboundonly=&graceful=&skip_exit= HTTP/1.1"),
    ],
)
async def test_the_proxy_is_ended_from_inside_the_pod_only(agent, node, path, order):
    pod = await node.add_pod("web")
    async with serve_admin(node, "web", {}) as asked:
        assert (await pod.get(path))[0] == 405
        assert (await pod.get(path, method="POST"))[0] == 200
        assert asked == [order]
        outside = socket.create_connection(("127.0.0.1", pod.status_port), source_address=("127.0.0.5", 0))
        reader, writer = await asyncio.open_connection(sock=outside)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 403")
        writer.close()
        await writer.wait_closed()
        assert len(asked) == 1


@pytest.mark.parametrize("path", ["/", "/config_dump", "/app-health/", "/healthz/ready/x", "/certs"])
async def test_nothing_else_is_served(agent, node, path):
    pod = await node.add_pod("web")
    assert (await pod.get(path))[0] == 404
