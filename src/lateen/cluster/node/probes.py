"""Asking containers whether they started, are ready and live; and running their hooks.

Flow: `Prober.check(action)` -> `Verdict`; `supervise` runs a container's probes and reports changes until cancelled.
Invariants: sockets are opened inside the pod, from 127.0.0.6, which the pod's rules let pass by Envoy: a probe reaches
the app also under STRICT, and an app that is not ready is not hidden by its sidecar. Readiness and liveness begin once
the startup probe has passed.
Source: Kubernetes page "Configure Liveness, Readiness and Startup Probes"; kubelet's messages. We differ: within the
first period readiness is asked more often, so that a pod is ready when its app is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from lateen.api.container import (
    Container,
    ExecAction,
    GrpcAction,
    HttpGetAction,
    LifecycleHandler,
    Probe,
    TcpSocketAction,
)
from lateen.base.errors import LateenError
from lateen.cluster.network.interception import PASSTHROUGH_SOURCE
from lateen.cluster.node.sandbox import Sandbox
from lateen.runtime.clock import Clock
from lateen.runtime.grpc_health import check_health

_FIRST_PACE = timedelta(milliseconds=50)
_OUTPUT_BYTES = 10 << 10


@dataclass(frozen=True)
class Verdict:
    """What one probe found."""

    ok: bool
    message: str = ""


class ProbeReport(Protocol):
    """Who is told of changes."""

    def started(self) -> None:
        """The startup probe passed, or there is none."""

    def ready(self, *, ready: bool) -> None:
        """Readiness changed."""

    def unhealthy(self, kind: str, message: str) -> None:
        """One probe failed; `kind` is Startup, Readiness or Liveness."""

    def failed(self, kind: str) -> None:
        """Startup or liveness failed as often as allowed: the container has to end."""


def find_port(container: Container, port: int | str) -> int:
    """Return a port's number; raises LookupError for a name that the container does not have."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for each in container.ports:
        if each.name == port:
            return each.container_port
    raise LookupError(f"container {container.name} has no port named {port!r}")


class Prober:
    """Carries out probe and hook actions in one container."""

    def __init__(self, sandbox: Sandbox, address: str, container: Container, key: str) -> None:
        self._sandbox = sandbox
        self._address = address
        self._container = container
        self._key = key

    async def check(self, probe: Probe) -> Verdict:
        """Return the verdict of one probe, within its time limit."""
        limit = max(probe.timeout_seconds, 1)
        try:
            async with asyncio.timeout(limit):
                return await self._act(probe.exec, probe.http_get, probe.tcp_socket, probe.grpc)
        except TimeoutError:
            return Verdict(ok=False, message=f"no answer within {limit} s")
        except (LateenError, OSError, EOFError, LookupError, ValueError) as error:
            return Verdict(ok=False, message=str(error))

    async def run_hook(self, hook: LifecycleHandler) -> Verdict:
        """Run a lifecycle hook to its end; the caller limits its time."""
        if hook.sleep is not None:
            await asyncio.sleep(hook.sleep.seconds)
            return Verdict(ok=True)
        try:
            return await self._act(hook.exec, hook.http_get, hook.tcp_socket, None)
        except (LateenError, OSError, EOFError, LookupError, ValueError) as error:
            return Verdict(ok=False, message=str(error))

    async def _act(
        self,
        execute: ExecAction | None,
        get: HttpGetAction | None,
        tcp: TcpSocketAction | None,
        grpc: GrpcAction | None,
    ) -> Verdict:
        if execute is not None:
            return await self._execute(execute)
        if get is not None:
            return await self._get(get)
        if tcp is not None:
            port = find_port(self._container, tcp.port)
            (await self._connect(tcp.host or self._address, port)).close()
            return Verdict(ok=True)
        if grpc is not None:
            return await self._check_grpc(grpc)
        return Verdict(ok=True)

    async def _execute(self, action: ExecAction) -> Verdict:
        read, write = os.pipe()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            standard = (null, write, write)
            execution = await self._sandbox.execute(self._key, list(action.command), standard)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
            os.close(null)
        os.set_blocking(read, False)
        try:
            code = await execution.wait()
            try:
                output = os.read(read, _OUTPUT_BYTES).decode("utf-8", "replace")
            except BlockingIOError:
                output = ""
        except asyncio.CancelledError:
            await execution.signal(9)
            raise
        finally:
            os.close(read)
        return Verdict(code == 0, "" if code == 0 else output or f"command exited with status {code}")

    async def _connect(self, host: str, port: int) -> socket.socket:
        """Connect from inside the pod; a name is the node's to resolve, as for kubelet."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET)
        return await self._sandbox.connect(str(found[0][4][0]), port, source=PASSTHROUGH_SOURCE)

    async def _open(
        self, host: str, port: int, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connected = await self._connect(host, port)
        try:
            return await asyncio.open_connection(sock=connected, ssl=context, server_hostname="" if context else None)
        except BaseException:
            connected.close()
            raise

    async def _get(self, action: HttpGetAction) -> Verdict:
        port = find_port(self._container, action.port)
        host = action.host or self._address
        context = None
        if action.scheme.upper() == "HTTPS":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        reader, writer = await self._open(host, port, context)
        try:
            headers = {
                "Host": f"{host}:{port}",
                "User-Agent": "kube-probe/1.34",
                "Accept": "*/*",
                "Connection": "close",
            }
            headers |= {header.name: header.value for header in action.http_headers}
            path = action.path if action.path.startswith("/") else f"/{action.path}"
            lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            writer.write("\r\n".join(lines).encode())
            status = (await reader.readline()).split(b" ", 2)
            code = int(status[1]) if len(status) > 1 else 0
            if 200 <= code < 400:
                return Verdict(ok=True)
            return Verdict(ok=False, message=f"HTTP probe failed with statuscode: {code}")
        finally:
            writer.close()

    async def _check_grpc(self, action: GrpcAction) -> Verdict:
        reader, writer = await self._open(self._address, action.port)
        try:
            serving = await check_health(reader, writer, action.service, f"{self._address}:{action.port}")
        finally:
            writer.close()
        return Verdict(serving, "" if serving else "service unhealthy (responded without SERVING)")


async def supervise(
    container: Container, prober: Prober, report: ProbeReport, clock: Clock, *, startup_period: timedelta | None
) -> None:
    """Run the container's probes until cancelled; `startup_period` shortens the pace of the startup probe."""
    if (startup := container.startup_probe) is not None:
        await clock.sleep(timedelta(seconds=startup.initial_delay_seconds))
        period = startup_period or timedelta(seconds=max(startup.period_seconds, 1))
        limit = timedelta(seconds=max(startup.period_seconds, 1)) * max(startup.failure_threshold, 1)
        if not await _pass_startup(startup, prober, report, clock, period, limit):
            report.failed("Startup")
            return
    report.started()
    async with asyncio.TaskGroup() as group:
        if container.readiness_probe is not None:
            group.create_task(_watch(container.readiness_probe, prober, report, clock, "Readiness"))
        else:
            report.ready(ready=True)
        if container.liveness_probe is not None:
            group.create_task(_watch(container.liveness_probe, prober, report, clock, "Liveness"))


async def _pass_startup(
    probe: Probe, prober: Prober, report: ProbeReport, clock: Clock, period: timedelta, limit: timedelta
) -> bool:
    waited = timedelta(0)
    while True:
        verdict = await prober.check(probe)
        if verdict.ok:
            return True
        waited += period
        if waited >= limit:
            report.unhealthy("Startup", verdict.message)
            return False
        if period.total_seconds() >= 1:
            report.unhealthy("Startup", verdict.message)
        await clock.sleep(period)


async def _watch(probe: Probe, prober: Prober, report: ProbeReport, clock: Clock, kind: str) -> None:
    await clock.sleep(timedelta(seconds=probe.initial_delay_seconds))
    in_a_row: Callable[[bool], int] = _Streak().add
    if kind == "Readiness":
        await _await_first_answer(probe, prober, clock)
    while True:
        verdict = await prober.check(probe)
        streak = in_a_row(verdict.ok)
        if not verdict.ok:
            report.unhealthy(kind, verdict.message)
        if kind == "Readiness":
            if verdict.ok and streak >= max(probe.success_threshold, 1):
                report.ready(ready=True)
            elif not verdict.ok and streak >= max(probe.failure_threshold, 1):
                report.ready(ready=False)
        elif not verdict.ok and streak >= max(probe.failure_threshold, 1):
            report.failed(kind)
            return
        await clock.sleep(timedelta(seconds=max(probe.period_seconds, 1)))


async def _await_first_answer(probe: Probe, prober: Prober, clock: Clock) -> None:
    """Return at the first success, or after one period: a program that just started is asked often, and not blamed."""
    end = clock.monotonic() + timedelta(seconds=max(probe.period_seconds, 1))
    while clock.monotonic() < end and not (await prober.check(probe)).ok:
        await clock.sleep(_FIRST_PACE)


class _Streak:
    """How often the same verdict came in a row."""

    def __init__(self) -> None:
        self._last: bool | None = None
        self._count = 0

    def add(self, ok: bool) -> int:
        self._count = self._count + 1 if ok is self._last else 1
        self._last = ok
        return self._count
