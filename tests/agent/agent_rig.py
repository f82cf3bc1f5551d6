"""A discovery with a real Citadel, a node, and agents, all on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc

from lateen.agent.upstream import DISCOVERY_NAME
from lateen.citadel.ca import CertificateAuthority, create_authority, load_authority
from lateen.citadel.service import CertificateService
from lateen.citadel.tokens import AUDIENCE, TokenReviewer, take_bearer
from lateen.runtime.agent_client import AgentClient
from lateen.runtime.agent_control import AddPod, Connect
from lateen.runtime.metrics import Metrics
from lateen.xds.messages import ADS_SERVICE, DELTA_METHOD, STATE_METHOD


@dataclass
class AdsCall:
    """One stream as discovery sees it; what is put into `answers` is sent, None ends the stream."""

    method: str
    token: str
    requests: list[bytes] = field(default_factory=list)
    answers: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    ended: bool = False


class Discovery:
    """Citadel, and ADS that the test plays itself, behind TLS on one port that outlives restarts."""

    def __init__(self, folder: Path) -> None:
        self.authority = create_authority(now=datetime.now(UTC))
        self.root_cert = folder / "mesh-root.pem"
        self.root_cert.write_bytes(self.authority.roots_pem)
        self.metrics = Metrics()
        self.calls: list[AdsCall] = []
        self.refuse = False
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._server: grpc.aio.Server | None = None
        self._next: CertificateAuthority = self.authority

    @property
    def issued(self) -> float:
        """Certificates signed so far."""
        return self.metrics.counter("citadel_server_success_cert_issuance_count", "").get()

    async def start(self) -> None:
        """Listen, as the authority in force."""
        pair = self.authority.issue_serving([DISCOVERY_NAME], now=datetime.now(UTC))
        certificates = CertificateService(lambda: self.authority, TokenReviewer(self._review), metrics=self.metrics)
        ads = {DELTA_METHOD: self._serve_delta, STATE_METHOD: self._serve_state}
        methods = {name: grpc.stream_stream_rpc_method_handler(each) for name, each in ads.items()}
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            (certificates.build_handler(), grpc.method_handlers_generic_handler(ADS_SERVICE, methods))
        )
        credentials = grpc.ssl_server_credentials([(pair.key_pem, pair.chain_pem)])
        self._server.add_secure_port(self.address, credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Go away at once."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def add_root(self) -> bytes:
        """Make a root that is to sign later; return the bundle that holds both."""
        self._next = create_authority(now=datetime.now(UTC))
        return self.authority.roots_pem + self._next.roots_pem

    def sign_with_new_root(self) -> None:
        """Sign with it from now on; the bundle holds both."""
        self.authority = load_authority(
            self._next.certificate_pem,
            self._next.key_pem,
            roots_pem=self._next.roots_pem + self.authority.roots_pem,
            now=datetime.now(UTC),
        )

    async def _review(self, document):
        """Tokens here read `<namespace>/<account>`."""
        namespace, _, account = document["spec"]["token"].partition("/")
        if self.refuse or not account:
            return document | {"status": {"authenticated": False}}
        user = {
            "username": f"system:serviceaccount:{namespace}:{account}",
            "extra": {"authentication.kubernetes.io/pod-uid": ["1"]},
        }
        return document | {"status": {"authenticated": True, "audiences": [AUDIENCE], "user": user}}

    async def _serve_delta(self, requests, context):
        await self._serve(DELTA_METHOD, requests, context)

    async def _serve_state(self, requests, context):
        await self._serve(STATE_METHOD, requests, context)

    async def _serve(self, method, requests, context):
        call = AdsCall(method, take_bearer(context.invocation_metadata()))
        self.calls.append(call)

        async def answer():
            while (body := await call.answers.get()) is not None:
                await context.write(body)

        answering = asyncio.create_task(answer())
        answering.add_done_callback(lambda _: context.cancel() if hasattr(context, "cancel") else None)
        reading = asyncio.create_task(self._read(call, requests))
        try:
            await asyncio.wait((answering, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            call.ended = True
            answering.cancel()
            reading.cancel()

    async def _read(self, call, requests):
        async for body in requests:
            call.requests.append(body)


class Node:
    """The node's side: registers pods, opens connections as if from inside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = folder / "control.sock"
        self.connects: list[Connect] = []
        self.routes: dict[tuple[str, int], int] = {}
        self.client = AgentClient(str(self.control), connect=self._connect)
        self._running: asyncio.Task[None] | None = None
        self._listeners: list[socket.socket] = []

    async def start(self) -> None:
        self._running = asyncio.create_task(self.client.run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        for listener in self._listeners:
            listener.close()

    async def add_pod(self, name: str, *, namespace: str = "shop", **fields) -> Pod:
        """Return a registered pod, whose uid is its name and whose account is too."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(f"{namespace}/{name}\n")
        listener = socket.create_server(("127.0.0.1", 0))
        self._listeners.append(listener)
        spec = AddPod(
            uid=name,
            name=name,
            namespace=namespace,
            ip="127.0.0.1",
            service_account=name,
            ads_socket=str(folder / "run" / "ads.sock"),
            token_file=str(folder / "token"),
            root_cert_file=str(folder / "root-cert.pem"),
            **fields,
        )
        await self.client.add_pod(spec, listener)
        return Pod(spec, listener.getsockname()[1])

    async def _connect(self, request: Connect) -> socket.socket:
        self.connects.append(request)
        port = self.routes.get((request.uid, request.port), request.port)
        connection = socket.socket()
        connection.setblocking(False)
        try:
            if request.source:
                connection.bind((request.source, 0))
            await asyncio.get_running_loop().sock_connect(connection, (request.host, port))
        except OSError:
            connection.close()
            raise
        return connection


@dataclass
class Pod:
    spec: AddPod
    status_port: int

    @property
    def ads_socket(self) -> str:
        return self.spec.ads_socket

    def write_roots(self, pem: bytes) -> None:
        """Do as the node does when the ConfigMap changes."""
        Path(self.spec.root_cert_file).write_bytes(pem)

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        options = [("grpc.default_authority", "agent"), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"unix:{self.ads_socket}", options=options) as channel:
            yield channel

    async def get(self, path: str, *, method: str = "GET") -> tuple[int, str]:
        answer = await self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body.decode()

    async def send(self, text: str) -> bytes:
        """What port 15020 answers to these bytes until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.status_port)
        try:
            writer.write(text.encode())
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class Agent:
    """The agent as a process of its own, which tests may kill."""

    def __init__(self, node: Node, discovery: Discovery, *, lifetime: str = "24h") -> None:
        self._arguments = [
            *("-m", "lateen.agent.main", "--control", str(node.control), "--discovery", discovery.address),
            *("--root-cert", str(discovery.root_cert), "--certificate-lifetime", lifetime),
            *("--log-level", "debug", "--die-with-parent"),
        ]
        self.log = node.folder / "agent.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Agent:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        code, log = await self.stop(), self.log.read_text()
        assert code == 0, log
        assert "Traceback" not in log, log
        assert "PRIVATE" not in log

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self._process.wait()
