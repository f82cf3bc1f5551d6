"""The app's own metrics, fetched from inside the pod to be merged with the proxy's.

Flow: annotations prometheus.io/scrape, prometheus.io/port, prometheus.io/path -> text, empty when there
are none. Why: a Prometheus outside the mesh cannot speak mTLS to the app. Source: Istio, "Metrics merging".
"""

from __future__ import annotations

import asyncio
import socket

from lateen.agent.probes import ConnectApp
from lateen.base.errors import LateenError
from lateen.envoy.admin import AdminClient, connect_with
from lateen.runtime.agent_control import AddPod
from lateen.runtime.logging import get_logger

log = get_logger("agent/scrape")

_DEADLINE_SECONDS = 5.0
_DEFAULT_PORT = "80"
_DEFAULT_PATH = "/metrics"


async def scrape_app(pod: AddPod, connect: ConnectApp) -> bytes:
    """Return the app's metrics; a failure is logged and leaves them out."""
    annotations = pod.annotations
    if annotations.get("prometheus.io/scrape") != "true":
        return b""
    port = annotations.get("prometheus.io/port") or _DEFAULT_PORT
    if not port.isdigit():
        return b""

    async def open_socket() -> socket.socket:
        return await connect(int(port), _DEADLINE_SECONDS)

    client = AdminClient(connect_with(open_socket))
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return await client.request("GET", annotations.get("prometheus.io/path") or _DEFAULT_PATH)
    except (LateenError, TimeoutError) as error:
        log.warning("the app's metrics are missing", pod=pod.name, reason=str(error) or "timeout")
        return b""
