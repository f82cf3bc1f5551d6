"""The running cluster: API server, controllers and node in one loop, discovery and the agent beside them.

Order: API server -> mesh objects -> controllers and node, while discovery and the agent, launched before, come up ->
the ingress gateway's objects, late enough that its Envoy takes no time from what it needs to start. `progress` is told
each step, and `ready` when all of them are. Anything that ends by itself ends the daemon with its error; SIGTERM ends
it in order: pods first, so that they can drain, the API server last.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from typing import Protocol

from lateen.base.errors import UnavailableError
from lateen.cluster.apiserver.server import ApiServer
from lateen.cluster.control_loops import run_control_loops
from lateen.cluster.images import ImageTable
from lateen.cluster.install import build_definitions, install_gateway, install_mesh
from lateen.cluster.launch import Launch
from lateen.cluster.mesh_root import keep_mesh_root
from lateen.cluster.node.node import Node
from lateen.cluster.ports import find_relays
from lateen.cluster.state import Running
from lateen.cluster.store import Store
from lateen.cluster.user_images import FILE_NAME, UserImages
from lateen.cluster.zygote import BRIDGE_ADDRESS, ZygoteHandle
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.runtime.logging import configure_logging, get_logger
from lateen.runtime.tasks import TaskSet, wait_for_stop_signal

log = get_logger("daemon")
_READY_SECONDS = 60.0
_CLIENTS = ("admin", "node", "controllers")
_POLL_SECONDS = 0.02
_DIAL_SECONDS = 10.0  # the longest that a webhook may take to answer by default


class Progress(Protocol):
    """Where the daemon tells how far it is."""

    def send(self, **message: object) -> None:
        """Tell one step."""


def run_daemon(under_way: Launch, zygote: ZygoteHandle, progress: Progress) -> None:
    """Run until SIGTERM or SIGINT; raises the LateenError that ended it otherwise."""
    configure_logging()
    asyncio.run(Daemon(under_way, zygote, progress).run())


class Daemon:
    """One run of the cluster."""

    def __init__(self, under_way: Launch, zygote: ZygoteHandle, progress: Progress) -> None:
        self._launch, self._zygote, self._progress = under_way, zygote, progress
        self._state = under_way.state
        self._relays = find_relays(under_way.ports)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, which end the start too, or until a part of it fails."""
        running = asyncio.ensure_future(self._run())
        stop = asyncio.ensure_future(wait_for_stop_signal())
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not running.done():
            log.info("stopping")
            running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    async def _run(self) -> None:
        """Start everything, report, and wait for a failure."""
        async with AsyncExitStack() as stack:
            api = await self._start_api(stack)
            # Closed after the tasks that use them.
            clients = {user: await stack.enter_async_context(self._client(user)) for user in _CLIENTS}
            tasks = TaskSet("cluster")
            stack.push_async_callback(tasks.close)
            node = self._start_node(clients, tasks, api)
            await self._step("the control plane is ready", self._until(self._discovery_is_ready, tasks))
            async with self._client("admin") as client:
                await install_gateway(client)
            await self._step("the node is ready", node.ready())
            self._write_running(ready=True)
            self._progress.send(ready=True)
            await tasks.wait()

    async def _start_api(self, stack: AsyncExitStack) -> ApiServer:
        self._progress.send(step="starting the API server")
        api = ApiServer(Store(self._state.database), self._launch.pki, definitions=build_definitions())
        await api.start([self._launch.listener])
        stack.push_async_callback(api.close)
        self._write_running(ready=False)
        async with self._client("admin") as client:
            await install_mesh(client)
        self._progress.send(done=f"the API server listens on {self._launch.server}")
        return api

    def _start_node(self, clients: Mapping[str, Client], tasks: TaskSet, api: ApiServer) -> Node:
        self._progress.send(step="starting the control plane and the node")
        for child in (self._launch.discovery, self._launch.agent):
            tasks.start(child.run(), name=child.name)
        tasks.start(keep_mesh_root(clients["admin"], self._state.mesh_root_cert), name="mesh-root")
        node = Node(
            client=clients["node"],
            zygote=self._zygote,
            images=ImageTable(read_added=UserImages(self._state.path / FILE_NAME).images),
            state=self._state,
            agent_control=self._launch.agent_control,
            relays=self._relays,
        )
        api.pod_io = node
        dial = partial(self._dial, node)
        api.use_pod_network(dial)
        system = clients["controllers"]
        reserved = self._launch.ports.values()
        tasks.start(run_control_loops(system, api, dial, reserved_ports=reserved), name="control-loops")
        tasks.start(node.run(), name="node")
        return node

    async def _step(self, text: str, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await work
        except TimeoutError:
            raise UnavailableError(
                f"not in {_READY_SECONDS:.0f} s: {text}", fix=f"the log files in {self._state.logs} tell more"
            ) from None
        self._progress.send(done=text)

    async def _until(self, attempt: Callable[[], Awaitable[bool]], tasks: TaskSet) -> None:
        failure = asyncio.ensure_future(tasks.wait())
        try:
            while not await attempt():
                if failure.done():
                    failure.result()
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            failure.cancel()

    async def _discovery_is_ready(self) -> bool:
        return await _is_ready(self._launch.ports["http"])

    @asynccontextmanager
    async def _client(self, user: str) -> AsyncIterator[Client]:
        path = self._state.kubeconfig if user == "admin" else self._state.component_kubeconfig(user)
        async with Client(load_config(path), user_agent=f"lateen-{user}") as client:
            yield client

    async def _dial(self, node: Node, address: str, port: int) -> socket.socket:
        """A connection to a pod, or past the bridge to this machine's discovery, which answers before the node does."""
        if address != BRIDGE_ADDRESS or port not in self._relays:
            try:
                return await node.namespace.connect(address, port, timeout=_DIAL_SECONDS)
            except UnavailableError as error:
                raise OSError(str(error)) from error
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._relays[port]))
        except OSError:
            connection.close()
            raise
        return connection

    def _write_running(self, *, ready: bool) -> None:
        Running(os.getpid(), version("lateen"), self._launch.server, self._launch.ports, ready=ready).write(self._state)


async def _is_ready(port: int) -> bool:
    """Whether discovery answers GET /ready with 200."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
        status_line = await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
    return status_line.split()[1:2] == [b"200"]
