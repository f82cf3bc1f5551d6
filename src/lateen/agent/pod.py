"""All that the agent does for one pod: its socket with ADS and SDS, its identity, its port 15020.

Flow: `AddPod` + listener -> a unix socket (0600 in a 0700 folder) that this pod alone sees, and a running
`WorkloadIdentity`. Invariant: everything served on the socket belongs to its pod; no handler looks at who
calls, since only this pod's mount leads here. Source: Istio's per-pod `pilot-agent`; here one process
holds them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from datetime import timedelta
from pathlib import Path

import grpc

from lateen.agent.identity import DEFAULT_LIFETIME, WorkloadIdentity
from lateen.agent.relay import AdsRelay
from lateen.agent.sds import SecretService
from lateen.agent.secrets import SecretStore
from lateen.agent.status import ConnectPod, StatusServer
from lateen.agent.upstream import Upstream
from lateen.base.errors import ConflictError, UnavailableError
from lateen.base.spiffe import workload_identity
from lateen.runtime.agent_control import AddPod
from lateen.runtime.clock import Clock, SystemClock
from lateen.runtime.grpc import build_server, listen_unix
from lateen.runtime.logging import get_logger
from lateen.runtime.metrics import Metrics
from lateen.runtime.tasks import TaskSet

log = get_logger("agent/pod")

_LONGEST_PATH_BYTES = 107  # sockaddr_un, less the closing zero: unix(7).


class PodAgent:
    """The agent of one pod."""

    def __init__(
        self,
        pod: AddPod,
        upstream: Upstream,
        connect: ConnectPod,
        *,
        clock: Clock | None = None,
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> None:
        """`connect` opens sockets inside the pod; `lifetime` is that of its certificates."""
        self.pod = pod
        metrics = Metrics()
        self._store = SecretStore()
        self._relay = AdsRelay(pod, upstream)
        self._secrets = SecretService(self._store)
        self._status = StatusServer(pod, connect, metrics)
        self._tasks = TaskSet(f"pod/{pod.namespace}/{pod.name}")
        self._server: grpc.aio.Server | None = None
        self._identity = WorkloadIdentity(
            workload_identity(pod.namespace, pod.service_account, trust_domain=pod.trust_domain),
            upstream,
            self._store,
            token_file=Path(pod.token_file),
            root_cert_file=Path(pod.root_cert_file),
            clock=clock or SystemClock(),
            metrics=metrics,
            lifetime=lifetime,
        )

    async def start(self, listener: socket.socket) -> None:
        """Serve; raises `UnavailableError` when the socket cannot be made. The listener is then owned here."""
        await self._status.start(listener)
        self._server = await self._serve_socket(Path(self.pod.ads_socket))
        self._tasks.start(self._identity.run(), name="identity")
        log.info("serving", pod=self.pod.name, namespace=self.pod.namespace, socket=self.pod.ads_socket)

    async def close(self) -> None:
        """End every stream, forget the keys, remove the socket."""
        await self._tasks.close()
        await self._status.close()
        if self._server is not None:
            await self._server.stop(None)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.pod.ads_socket)

    async def _serve_socket(self, path: Path) -> grpc.aio.Server:
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            raise UnavailableError(f"{path} is longer than the {_LONGEST_PATH_BYTES} bytes of a socket's path")
        server = build_server((self._relay.build_handler(), self._secrets.build_handler()))
        try:
            _bind(server, path)
        except (OSError, ConflictError) as error:
            raise UnavailableError(f"{path} cannot be served: {error}") from error
        await server.start()
        return server


def _bind(server: grpc.aio.Server, path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.parent.chmod(0o700)
    listen_unix(server, path)


async def close_all(agents: list[PodAgent]) -> None:
    """Close several at once."""
    await asyncio.gather(*(agent.close() for agent in agents))
