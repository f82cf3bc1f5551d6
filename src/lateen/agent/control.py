"""The agent's end of the control protocol: pods come and go as the node says.

Flow: unix socket (0600) -> one `Link` for each node connection -> `PodAgent`s started and closed.
Invariants: pods belong to the connection that added them and end with it, since a node that comes back
adds them again; a pod added again under the same uid replaces the earlier one; requests on one pod run one
after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from lateen.agent.pod import PodAgent, close_all
from lateen.agent.status import ConnectPod
from lateen.base.errors import UnavailableError
from lateen.runtime.agent_control import AddPod, Connect, Link, RemovePod, Request
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import TaskSet

log = get_logger("agent/control")

BuildPodAgent = Callable[[AddPod, ConnectPod], PodAgent]


class ControlServer:
    """Listens for the node."""

    def __init__(self, path: Path, build: BuildPodAgent) -> None:
        """`build` makes the agent of a pod, not yet started."""
        self._path = path
        self._build = build
        self._tasks = TaskSet("control")

    async def serve(self) -> None:
        """Listen until cancelled; raises `UnavailableError` when the socket cannot be made."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        try:
            self._listen(listener)
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                session = NodeSession(connection, self._build)
                self._tasks.start(session.run(), name="node")
        finally:
            listener.close()
            await self._tasks.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _listen(self, listener: socket.socket) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            previous = os.umask(0o177)
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(previous)
            listener.listen()
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be served: {error.strerror or error}") from error


class NodeSession:
    """One connection of a node, and its pods."""

    def __init__(self, connection: socket.socket, build: BuildPodAgent) -> None:
        self._link = Link(connection, self._handle)
        self._build = build
        self._agents: dict[str, PodAgent] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        """Answer the node until it goes away, then close its pods."""
        log.info("node connected")
        try:
            await self._link.run()
        finally:
            agents, self._agents = list(self._agents.values()), {}
            log.info("node disconnected", pods=len(agents))
            await close_all(agents)

    async def _handle(self, request: Request, sockets: list[socket.socket]) -> Sequence[socket.socket]:
        try:
            async with self._turns[request.uid]:
                await self._apply(request, sockets)
        finally:
            for each in sockets:
                each.close()
            if isinstance(request, RemovePod):
                self._turns.pop(request.uid, None)
        return []

    async def _apply(self, request: Request, sockets: list[socket.socket]) -> None:
        match request:
            case AddPod():
                if len(sockets) != 1:
                    raise UnavailableError("add_pod carries exactly one socket, the listener for port 15020")
                await self._close(request.uid)
                await self._add(request, sockets.pop())
            case RemovePod():
                await self._close(request.uid)
            case Connect():
                raise UnavailableError("connect is asked by the agent, not answered by it")

    async def _add(self, pod: AddPod, listener: socket.socket) -> None:
        agent = self._build(pod, self._connect)
        try:
            await agent.start(listener)
        except BaseException:
            await agent.close()
            raise
        self._agents[pod.uid] = agent

    async def _close(self, uid: str) -> None:
        if (agent := self._agents.pop(uid, None)) is not None:
            await agent.close()

    async def _connect(self, request: Connect) -> socket.socket:
        try:
            async with asyncio.timeout(request.timeout_seconds):
                sockets = await self._link.ask(request)
        except TimeoutError:
            raise UnavailableError(f"no connection to port {request.port} in time") from None
        if len(sockets) != 1:
            for each in sockets:
                each.close()
            raise UnavailableError("the node sent no connection")
        sockets[0].setblocking(False)
        return sockets[0]
