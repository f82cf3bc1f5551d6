"""Probes and hooks against real servers in a pod's namespace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc.aio
import msgspec
import pytest
import pytest_asyncio

from lateen.api.container import Container, LifecycleHandler, Probe
from lateen.cluster.network.interception import Interception, build_rules
from lateen.cluster.node.probes import Prober, find_port, supervise
from lateen.cluster.node.sandbox import NodeNamespace, Sandbox
from lateen.runtime.clock import SystemClock
from lateen.testing.node import open_pod, run_node_namespace
from lateen.testing.poll import until

ADDRESS = "10.244.0.5"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A pod that intercepts, as one with a sidecar: probes must pass by."""
    async with run_node_namespace() as node:
        assert isinstance(node, NodeNamespace)
        pod = await open_pod(node, ADDRESS)
        await pod.apply_rules(build_rules(Interception()))
        yield pod


@contextlib.asynccontextmanager
async def serve(sandbox: Sandbox, port: int, handler: Handler) -> AsyncIterator[None]:
    """A server inside the pod."""
    listener = await sandbox.listen("0.0.0.0", port)
    async with await asyncio.start_server(handler, sock=listener):
        yield


def container(**fields: Any) -> Container:
    ports = [{"name": "web", "containerPort": 8080}]
    return msgspec.convert({"name": "app", "image": "any", "ports": ports, **fields}, Container)


def probe(**fields: Any) -> Probe:
    return msgspec.convert(fields, Probe)


def prober(sandbox: Sandbox) -> Prober:
    return Prober(sandbox, ADDRESS, container(), "app/0")


def answer(status: str, seen: list[bytes] | None = None) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(request)
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # Whoever connected only looked whether somebody listens.
        finally:
            writer.close()

    return handle


@pytest.mark.parametrize(
    ("status", "ok"), [("200 OK", True), ("302 Found", True), ("399 x", True), ("400 Bad", False), ("503 No", False)]
)
async def test_http_counts_200_to_399_as_success(sandbox: Sandbox, status: str, ok: bool) -> None:
    seen: list[bytes] = []
    action = {"path": "healthz?x=1", "port": "web", "httpHeaders": [{"name": "X-Custom", "value": "v"}]}
    async with serve(sandbox, 8080, answer(status, seen)):
        verdict = await prober(sandbox).check(probe(httpGet=action))
    assert verdict.ok is ok, verdict.message
    assert ok or f"statuscode: {status[:3]}" in verdict.message
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /healthz?x=1 HTTP/1.1"
    assert f"Host: {ADDRESS}:8080" in lines and "X-Custom: v" in lines


async def test_tcp_needs_a_listener(sandbox: Sandbox) -> None:
    ask = probe(tcpSocket={"port": 8080})
    assert "Connection refused" in (await prober(sandbox).check(ask)).message
    async with serve(sandbox, 8080, answer("200 OK")):
        assert (await prober(sandbox).check(ask)).ok


async def test_a_server_that_says_nothing_is_given_up_in_time(sandbox: Sandbox) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serve(sandbox, 8080, silent):
        verdict = await asyncio.wait_for(prober(sandbox).check(probe(httpGet={"port": 8080}, timeoutSeconds=1)), 10)
    assert (verdict.ok, verdict.message) == (False, "no answer within 1 s")


@pytest.mark.parametrize("junk", [b"", b"SSH-2.0-x\r\n", b"\0\xff" * 5000], ids=["nothing", "ssh", "bytes"])
async def test_what_is_no_http_is_a_failure(sandbox: Sandbox, junk: bytes) -> None:
    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(junk)
        writer.close()

    async with serve(sandbox, 8080, speak):
        assert not (await prober(sandbox).check(probe(httpGet={"port": 8080}))).ok
        assert not (await prober(sandbox).check(probe(grpc={"port": 8080}))).ok


@contextlib.asynccontextmanager
async def serve_health(states: dict[str, bytes], sandbox: Sandbox, port: int) -> AsyncIterator[None]:
    """A real gRPC health server, which the pod's port leads to."""

    async def check(request: bytes, context: Any) -> bytes:
        service = request[2:].decode()
        if service not in states:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return states[service]

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    host_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", host_port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    target.write(data)
            target.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    try:
        async with serve(sandbox, port, relay):
            yield
    finally:
        await server.stop(None)


async def test_grpc_asks_the_health_service(sandbox: Sandbox) -> None:
    async with serve_health({"": b"\x08\x01", "slow": b"\x08\x02"}, sandbox, 9090):
        ask = prober(sandbox)
        assert (await ask.check(probe(grpc={"port": 9090}))).ok
        assert not (await ask.check(probe(grpc={"port": 9090, "service": "slow"}))).ok
        assert not (await ask.check(probe(grpc={"port": 9090, "service": "unknown"}))).ok


async def test_a_hook_sleeps_or_asks(sandbox: Sandbox) -> None:
    seen: list[bytes] = []
    async with serve(sandbox, 8080, answer("200 OK", seen)):
        hook = msgspec.convert({"httpGet": {"path": "/stop", "port": 8080}}, LifecycleHandler)
        assert (await prober(sandbox).run_hook(hook)).ok
    assert seen[0].startswith(b"GET /stop ")
    assert (await prober(sandbox).run_hook(msgspec.convert({"sleep": {"seconds": 0}}, LifecycleHandler))).ok


def test_a_port_is_a_number_or_a_name_of_the_container() -> None:
    assert [find_port(container(), port) for port in (80, "81", "web")] == [80, 81, 8080]
    with pytest.raises(LookupError, match="no port named 'grpc'"):
        find_port(container(), "grpc")


class Report:
    """What supervision told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self) -> None:
        self.told.append("started")

    def ready(self, *, ready: bool) -> None:
        if not self.told or self.told[-1] != f"ready {ready}":
            self.told.append(f"ready {ready}")

    def unhealthy(self, kind: str, message: str) -> None:
        self.told.append(f"unhealthy {kind}")

    def failed(self, kind: str) -> None:
        self.told.append(f"failed {kind}")


async def test_readiness_begins_when_startup_has_passed(sandbox: Sandbox) -> None:
    report = Report()
    tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    watched = container(startupProbe={**tcp, "failureThreshold": 60}, readinessProbe=tcp)
    pace = timedelta(milliseconds=20)
    task = asyncio.ensure_future(supervise(watched, prober(sandbox), report, SystemClock(), startup_period=pace))
    try:
        async with serve(sandbox, 8080, answer("200 OK")):
            await until(lambda: "ready True" in report.told, what="ready")
        assert report.told == ["started", "ready True"]
        await until(lambda: "ready False" in report.told, what="not ready any more")
    finally:
        task.cancel()


async def test_startup_that_never_passes_fails_the_container_once(sandbox: Sandbox) -> None:
    report = Report()
    watched = container(startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1})
    await supervise(watched, prober(sandbox), report, SystemClock(), startup_period=timedelta(milliseconds=100))
    assert report.told == ["unhealthy Startup", "failed Startup"]
