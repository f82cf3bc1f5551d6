"""Probes of the app, made for the node from inside the pod.

Flow: a Kubernetes probe (httpGet, tcpSocket, grpc) whose ports are numbers -> a connection opened in the pod ->
`Outcome`. Why: under STRICT the kubelet's plain request would be refused, so the injector points it at the
agent (`/app-health/...`), which speaks to the app past Envoy: from 127.0.0.6, which the pod's rules let
through. Invariants: a probe ends at its deadline (`timeoutSeconds`, 1 s by default); of the app's answer
only the status is used; certificates are not verified, as the kubelet does not. Source: Istio
pilot/cmd/pilot-agent/status; Kubernetes' probe types.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from lateen.base.errors import DataError, LateenError
from lateen.runtime.grpc_health import check_health

ConnectApp = Callable[[int, float], Awaitable[socket.socket]]
"""(port, timeout in seconds) -> a socket connected to the app from inside its pod."""

PROBE_SOURCE = "127.0.0.6"  # what Envoy's passthrough and the pod's nft rules use too.
_DEFAULT_TIMEOUT_SECONDS = 1.0
_LONGEST_HEAD_BYTES = 1 << 16


class Outcome(NamedTuple):
    """What the prober is told: an HTTP status, and why."""

    status: int
    text: str = ""


async def probe_app(probe: dict[str, Any], connect: ConnectApp) -> Outcome:
    """Make one probe; a failure of any kind is an outcome of 500."""
    timeout = float(probe.get("timeoutSeconds") or _DEFAULT_TIMEOUT_SECONDS)
    try:
        async with asyncio.timeout(timeout):
            if (get := probe.get("httpGet")) is not None:
                return Outcome(await _get_status(get, connect, timeout))
            if (tcp := probe.get("tcpSocket")) is not None:
                (await connect(_take_port(tcp), timeout)).close()
                return Outcome(HTTPStatus.OK)
            if (grpc := probe.get("grpc")) is not None:
                return await _ask_health(grpc, connect, timeout)
            raise DataError(f"the agent makes no probe of the kind {', '.join(probe) or 'empty'}")
    except TimeoutError:
        return _failed(f"no answer within {timeout:g} s")
    except LateenError as error:
        return _failed(error.message)
    except (OSError, EOFError, ValueError) as error:
        return _failed(str(error) or type(error).__name__)


def _failed(text: str) -> Outcome:
    return Outcome(HTTPStatus.INTERNAL_SERVER_ERROR, text)


def _take_port(action: dict[str, Any]) -> int:
    port = action.get("port")
    if not isinstance(port, int) or not 0 < port < 65536:
        raise DataError(f"the probe's port {port!r} is no port number")
    return port


async def _ask_health(action: dict[str, Any], connect: ConnectApp, timeout: float) -> Outcome:
    port = _take_port(action)
    reader, writer = await asyncio.open_connection(sock=await connect(port, timeout))
    try:
        if await check_health(reader, writer, str(action.get("service") or ""), f"localhost:{port}"):
            return Outcome(HTTPStatus.OK)
        return _failed("service unhealthy (responded without SERVING)")
    finally:
        writer.transport.abort()


async def _get_status(get: dict[str, Any], connect: ConnectApp, timeout: float) -> int:
    port = _take_port(get)
    head = _build_head(get, port)
    context = _trust_anyone() if str(get.get("scheme", "HTTP")).upper() == "HTTPS" else None
    connection = await connect(port, timeout)
    reader, writer = await asyncio.open_connection(
        sock=connection, ssl=context, server_hostname="localhost" if context else None, limit=_LONGEST_HEAD_BYTES
    )
    try:
        writer.write(head)
        line = await reader.readuntil(b"\n")
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/"):
            raise DataError("the app's answer is not HTTP")
        return int(rest[:3])
    finally:
        writer.transport.abort()


def _build_head(get: dict[str, Any], port: int) -> bytes:
    headers = {"Host": f"localhost:{port}", "User-Agent": "kube-probe/lateen", "Accept": "*/*"}
    for each in get.get("httpHeaders") or []:
        headers[str(each["name"]).title()] = str(each.get("value", ""))
    headers["Connection"] = "close"
    path = str(get.get("path") or "/")
    lines = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(ord(character) < 32 for line in lines for character in line) or " " in path:
        raise DataError("the probe's path or headers have characters that HTTP does not allow")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _trust_anyone() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
