"""Port 15020 of a pod: readiness, probes of the app, metrics, the end of the proxy.

| request | answer | who asks |
| --- | --- | --- |
| GET /healthz/ready | 200 when the proxy is ready, else 503 with the reason | node, Envoy's 15021, users |
| GET /app-health/..., /app-lifecycle/... | the app's probe or hook, made past Envoy | node, in its place |
| GET /stats/prometheus | Envoy's, the agent's and the app's metrics in one | Prometheus |
| POST /drain | Envoy takes leave of its clients; from 127.0.0.1 only | the proxy's preStop hook |
| POST /quitquitquit | ends Envoy; from 127.0.0.1 only | a Job's container when it is done |

Flow: a listening socket made inside the pod -> HTTP answers, each within a deadline.
Invariants: nothing on this port tells a secret or changes anything for a caller outside the pod.
Source: Istio pilot/cmd/pilot-agent/status; annotations prometheus.io/scrape, port and path.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from lateen.agent.http import Answer, HttpRequest, HttpServer
from lateen.agent.probes import PROBE_SOURCE, Outcome, probe_app
from lateen.agent.readiness import Readiness
from lateen.agent.scrape import scrape_app
from lateen.base.errors import LateenError
from lateen.envoy.admin import AdminClient, connect_with
from lateen.envoy.bootstrap import ADMIN_PORT
from lateen.runtime.agent_control import AddPod, Connect
from lateen.runtime.metrics import CONTENT_TYPE, Metrics

ConnectPod = Callable[[Connect], Awaitable[socket.socket]]

_ADMIN_TIMEOUT_SECONDS = 2.0
_LOOPBACK = ("127.0.0.1", "::1")


class StatusServer:
    """Serves one pod's port 15020."""

    def __init__(self, pod: AddPod, connect: ConnectPod, metrics: Metrics) -> None:
        """`connect` opens sockets inside the pod."""
        self._pod = pod
        self._connect = connect
        self._metrics = metrics
        self._admin = AdminClient(connect_with(self._connect_admin))
        self._readiness = Readiness(self._admin)
        self._server = HttpServer(self._answer)

    async def start(self, listener: socket.socket) -> None:
        """Serve on this socket, which is then owned here."""
        await self._server.start(listener)

    async def close(self) -> None:
        """Stop serving and close the socket."""
        await self._server.close()

    async def _answer(self, request: HttpRequest) -> Answer:
        match request.method, request.path:
            case (("GET" | "HEAD"), "/healthz/ready"):
                return _respond(await self._check_ready())
            case (("GET" | "HEAD"), ("/stats/prometheus" | "/metrics")):
                return await self._merge_metrics()
            case "POST", "/quitquitquit":
                return _respond(await self._order(request.peer, self._admin.quit))
            case "POST", "/drain":
                return _respond(await self._order(request.peer, self._drain))
            case _, ("/quitquitquit" | "/drain"):
                return _respond(Outcome(HTTPStatus.METHOD_NOT_ALLOWED, "POST only"))
            case (("GET" | "HEAD"), path) if (probe := self._pod.probes.get(path)) is not None:
                return _respond(await probe_app(probe, self._connect_app))
            case _:
                return _respond(Outcome(HTTPStatus.NOT_FOUND, "not served by the agent"))

    async def _check_ready(self) -> Outcome:
        obstacle = await self._readiness.find_obstacle()
        if obstacle is None:
            return Outcome(HTTPStatus.OK)
        return Outcome(HTTPStatus.SERVICE_UNAVAILABLE, f"Envoy proxy is NOT ready: {obstacle}")

    async def _drain(self) -> None:
        """Have Envoy close idle connections and say goodbye on the others; a sidecar goes on serving its app."""
        inbound = {"inboundonly": ""} if self._pod.proxy_type == "sidecar" else {}
        await self._admin.request("POST", "/drain_listeners", {**inbound, "graceful": "", "skip_exit": ""})

    async def _order(self, peer: str, act: Callable[[], Awaitable[None]]) -> Outcome:
        if peer not in _LOOPBACK:
            return Outcome(HTTPStatus.FORBIDDEN, "only from inside the pod, by way of 127.0.0.1")
        try:
            await act()
        except LateenError as error:
            return Outcome(HTTPStatus.SERVICE_UNAVAILABLE, error.message)
        return Outcome(HTTPStatus.OK, "ok")

    async def _merge_metrics(self) -> Answer:
        envoy, app = await asyncio.gather(self._scrape_envoy(), scrape_app(self._pod, self._connect_app))
        body = b"\n".join(part.rstrip(b"\n") for part in (envoy, self._metrics.render().encode(), app) if part)
        return Answer(HTTPStatus.OK, body + b"\n", CONTENT_TYPE)

    async def _scrape_envoy(self) -> bytes:
        try:
            return await self._admin.request("GET", "/stats/prometheus")
        except LateenError:
            return b""

    async def _connect_admin(self) -> socket.socket:
        return await self._connect(Connect(uid=self._pod.uid, port=ADMIN_PORT, timeout_seconds=_ADMIN_TIMEOUT_SECONDS))

    async def _connect_app(self, port: int, timeout_seconds: float) -> socket.socket:
        return await self._connect(
            Connect(
                uid=self._pod.uid,
                host=self._pod.ip,
                port=port,
                source=PROBE_SOURCE,
                timeout_seconds=timeout_seconds,
            )
        )


def _respond(outcome: Outcome) -> Answer:
    return Answer(outcome.status, outcome.text.encode())
