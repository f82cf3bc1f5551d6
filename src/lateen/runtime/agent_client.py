"""The node's end of the control protocol: registers pods with the agent, again whenever the agent is back.

Flow: `add_pod` remembers the pod and returns when the agent serves it; `run` keeps the connection, answers
the agent's `Connect` through the node's own function, and after a reconnection registers every remembered
pod before anything else. Invariant: the listener given to `add_pod` stays the caller's; the client keeps a
duplicate until `remove_pod`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from lateen.base.errors import UnavailableError
from lateen.runtime.agent_control import AddPod, Connect, Link, RemovePod, Request
from lateen.runtime.clock import Clock, SystemClock
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff

log = get_logger("agent_client")

_FIRST_RETRY = timedelta(milliseconds=20)
_LAST_RETRY = timedelta(milliseconds=500)


class _Registration:
    def __init__(self, pod: AddPod, listener: socket.socket) -> None:
        self.pod = pod
        self.listener = listener
        self.served = asyncio.Event()
        self.refusal: UnavailableError | None = None


class AgentClient:
    """Keeps an agent, that may die and come back, told of the pods of this node."""

    def __init__(
        self,
        path: str,
        *,
        connect: Callable[[Connect], Awaitable[socket.socket]],
        clock: Clock | None = None,
    ) -> None:
        """`connect` opens a socket from inside a pod; the client closes it after sending it over."""
        self._path = path
        self._connect = connect
        self._clock: Clock = clock or SystemClock()
        self._pods: dict[str, _Registration] = {}
        self._link: Link | None = None

    async def add_pod(self, pod: AddPod, listener: socket.socket) -> None:
        """Return when the agent serves the pod, however often it restarts; raises what it refuses with."""
        registration = _Registration(pod, listener.dup())
        self._drop(self._pods.get(pod.uid))
        self._pods[pod.uid] = registration
        if self._link is not None:
            await self._register(self._link, registration)
        await registration.served.wait()
        if registration.refusal is not None:
            raise registration.refusal

    async def remove_pod(self, uid: str) -> None:
        """Forget the pod; an agent that is away learns of it by not hearing of the pod again."""
        registration = self._pods.pop(uid, None)
        self._drop(registration)
        if registration is None or self._link is None:
            return
        try:
            await self._link.ask(RemovePod(uid=uid))
        except UnavailableError as error:
            log.debug("agent did not confirm a removal", uid=uid, error=error)

    async def run(self) -> None:
        """Stay connected until cancelled; then the agent closes what it served, and every pod is forgotten."""
        try:
            await self._stay_connected()
        finally:
            while self._pods:
                self._drop(self._pods.popitem()[1])

    async def _stay_connected(self) -> None:
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY)
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.setblocking(False)
                await asyncio.get_running_loop().sock_connect(connection, self._path)
            except OSError:
                connection.close()
                await self._clock.sleep(backoff.next())
                continue
            backoff.reset()
            await self._serve(connection)
            await self._clock.sleep(backoff.next())

    async def _serve(self, connection: socket.socket) -> None:
        link = Link(connection, self._answer)
        reading = asyncio.get_running_loop().create_task(link.run(), name="agent_client/link")
        # Set before the copy is taken: a pod added from here on registers itself, an earlier one is in the
        # copy.
        self._link = link
        try:
            for registration in list(self._pods.values()):
                await self._register(link, registration)
            log.info("agent connected", path=self._path, pods=len(self._pods))
            await reading
        finally:
            self._link = None
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            log.info("agent disconnected", path=self._path)

    async def _register(self, link: Link, registration: _Registration) -> None:
        try:
            await link.ask(registration.pod, [registration.listener])
        except UnavailableError as error:
            if link.closed:
                return
            registration.refusal = error
            log.error("agent refuses a pod", pod=registration.pod.name, error=error)
        registration.served.set()

    async def _answer(self, request: Request, sockets: list[socket.socket]) -> Sequence[socket.socket]:
        for each in sockets:
            each.close()
        if not isinstance(request, Connect):
            raise UnavailableError("the node answers only connect")
        return [await self._connect(request)]

    @staticmethod
    def _drop(registration: _Registration | None) -> None:
        if registration is not None:
            registration.listener.close()
            registration.served.set()
