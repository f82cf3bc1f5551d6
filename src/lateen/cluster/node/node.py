"""The embedded node: runs the pods of the API server as processes of this machine.

Flow: informers (pods, and what pods refer to) -> one `PodRunner` for each pod bound here -> status; pods that no node
has are bound here. Also what the API server needs of running pods (`PodIO`) and the agent's sockets into pods.
Invariants: it speaks to the cluster as `system:node:lateen` and through the API alone; a pod's runner lives as long as
its object; when the node stops, every process of every pod has ended before `run` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from lateen.api.objects import JsonObject, ObjectKey, uid_of
from lateen.base.errors import LateenError, NotFoundError, UnavailableError
from lateen.cluster.images import ImageTable, find_interpreter
from lateen.cluster.network.addresses import AddressPool
from lateen.cluster.node.container_spec import Places
from lateen.cluster.node.containers import NodeContext
from lateen.cluster.node.events import EventRecorder
from lateen.cluster.node.fields import NODE_NAME
from lateen.cluster.node.logs import find_attempts, read_log
from lateen.cluster.node.pod_api import EVENTS, PODS, PodApi
from lateen.cluster.node.pod_state import decode_pod
from lateen.cluster.node.references import CONFIG_MAPS, SECRETS, References
from lateen.cluster.node.registration import bind, measure_capacity, needs_binding, register
from lateen.cluster.node.restore import restore_record
from lateen.cluster.node.runner import PodRunner
from lateen.cluster.node.sandbox import Execution, NodeNamespace, Sandbox
from lateen.cluster.node_services import NodeServices
from lateen.cluster.service_directory import ServiceDirectory
from lateen.cluster.state import StateDir
from lateen.cluster.zygote import DNS_ADDRESS, ZygoteHandle
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
from lateen.runtime.agent_client import AgentClient
from lateen.runtime.agent_control import Connect
from lateen.runtime.clock import Clock, SystemClock
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff, TaskSet

log = get_logger("node")

_RESTART_DELAY = datetime.timedelta(seconds=10)


class Node:
    """The node `lateen`."""

    def __init__(
        self,
        *,
        client: Client,
        zygote: ZygoteHandle,
        images: ImageTable,
        state: StateDir,
        agent_control: Path | None = None,
        relays: Mapping[int, int] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`agent_control` is the agent's control socket; without it no pod can have a sidecar.

        `relays`: port of the bridge address -> port of the host's 127.0.0.1, for pods to reach the control plane.
        """
        self._client = client
        self._zygote = zygote
        self._clock: Clock = clock or SystemClock()
        self._references = References()
        self._agent = AgentClient(str(agent_control), connect=self._connect) if agent_control is not None else None
        self._images = images
        self._places = Places(state.pods, state.runtime)
        self._relays = dict(relays or {})
        self._context: NodeContext | None = None
        self._capacity = measure_capacity()
        self._events = EventRecorder(client, EVENTS, self._clock, host=NODE_NAME)
        self._pool = AddressPool()
        self._runners: dict[str, PodRunner] = {}
        self._binding: set[str] = set()
        self._tasks = TaskSet("node")
        self._namespace: NodeNamespace | None = None
        self._informers: InformerSet | None = None
        self._started = False
        self._ready = asyncio.Event()

    async def ready(self) -> None:
        """Wait until the node is registered and runs pods."""
        await self._ready.wait()

    @property
    def namespace(self) -> NodeNamespace:
        """The node's network namespace; there once the node runs."""
        if self._namespace is None:
            raise UnavailableError("the node has not started")
        return self._namespace

    async def run(self) -> None:
        """Run pods until cancelled; raises what made the node fail."""
        self._prepare_directories()
        self._namespace = namespace = NodeNamespace(self._zygote)
        try:
            await namespace.wait_ready()
            services = NodeServices(self._client, namespace, self._relays)
            self._context = self._build_context(services.directory)
            self._informers = informers = InformerSet(self._client, on_changes=self._changed)
            for kind in (PODS, CONFIG_MAPS, SECRETS):
                informers.add(kind)
            self._tasks.start(self._events.run(), name="events")
            self._tasks.start(informers.run(), name="informers")
            self._tasks.start(services.run(), name="services")
            self._tasks.start(self._watch_namespace(namespace), name="namespace")
            if self._agent is not None:
                self._tasks.start(self._agent.run(), name="agent")
            failure = asyncio.ensure_future(self._tasks.wait())
            await register(self._client, self._capacity, self._clock.now())
            await informers.synced()
            await services.ready()
            self._start_pods(informers[PODS].objects)
            self._ready.set()
            await failure
        finally:
            await self._tasks.close()
            await namespace.stop()

    def _build_context(self, services: ServiceDirectory) -> NodeContext:
        return NodeContext(
            references=self._references,
            services=services,
            images=self._images,
            interpreter=find_interpreter(),
            places=self._places,
            agent=self._agent,
            clock=self._clock,
            name_server=DNS_ADDRESS,
        )

    def _prepare_directories(self) -> None:
        places = self._places
        for leftover in (places.runtime / "pods", places.runtime / "images"):
            shutil.rmtree(leftover, ignore_errors=True)
        for directory in (places.pods, places.mount_point):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def _watch_namespace(self, namespace: NodeNamespace) -> None:
        await namespace.closed.wait()
        raise UnavailableError("the process that holds the node's namespaces has ended")

    def _changed(self, changes: tuple[Change, ...]) -> None:
        namespaces: set[str] = set()
        for change in changes:
            if change.kind is not PODS:
                self._references.apply(change)
                namespaces.add(change.key.namespace)
            elif self._started:
                self._pod_changed(change.old, change.new)
        for runner in self._runners.values() if namespaces else ():
            if runner.state.pod.metadata.namespace in namespaces:
                runner.references_changed()

    def _start_pods(self, pods: Mapping[ObjectKey, JsonObject]) -> None:
        self._started = True
        known = {uid_of(pod) for pod in pods.values()}
        for directory in self._places.pods.iterdir():
            if directory.name not in known:
                shutil.rmtree(directory, ignore_errors=True)
        # Those that had an address keep it; the others get what is left.
        for pod in sorted(pods.values(), key=lambda pod: not pod.get("status", {}).get("podIP")):
            self._pod_changed(None, pod)

    def _pod_changed(self, old: JsonObject | None, new: JsonObject | None) -> None:
        if new is None:
            runner = self._runners.get(uid_of(old or {}))
            if runner is not None:
                runner.vanish()
        elif (runner := self._runners.get(uid_of(new))) is not None:
            runner.update(new)
        elif new["spec"].get("nodeName") == NODE_NAME:
            self._start_runner(new)
        elif needs_binding(new) and uid_of(new) not in self._binding:
            self._binding.add(uid_of(new))
            self._tasks.start(self._bind(new), name=f"bind/{uid_of(new)}")

    async def _bind(self, pod: JsonObject) -> None:
        backoff = Backoff(datetime.timedelta(milliseconds=100), datetime.timedelta(seconds=5))
        try:
            while True:
                try:
                    if await bind(self._client, pod):
                        target = f"{pod['metadata']['namespace']}/{pod['metadata']['name']} to {NODE_NAME}"
                        self._events.record(pod, "Scheduled", f"Successfully assigned {target}")
                    return
                except LateenError as error:
                    log.warning("pod not bound", pod=pod["metadata"]["name"], error=error.message)
                await self._clock.sleep(backoff.next())
        finally:
            self._binding.discard(uid_of(pod))

    def _start_runner(self, document: JsonObject) -> None:
        assert self._context is not None
        pod = decode_pod(document)
        address = pod.status.pod_ip
        if not address or not self._pool.claim(address):
            address = self._pool.allocate()
        record = restore_record(pod, address, self._clock.now())
        api = PodApi(self._client, self._events, document)
        runner = PodRunner(self._context, self.namespace, api, document, record, self._capacity)
        uid = pod.metadata.uid
        self._runners[uid] = runner
        self._tasks.start(self._run_pod(uid, runner, address), name=f"pod/{uid}")

    async def _run_pod(self, uid: str, runner: PodRunner, address: str) -> None:
        try:
            await runner.run()
        except Exception as error:
            # An error of ours in one pod is no reason to end the others: this one starts anew.
            document = runner.state.document
            log.error("pod failed", pod=document["metadata"]["name"], exc_info=error)
            self._events.record(document, "FailedSync", f"internal error: {error!r}", warning=True)
            self._tasks.start(self._run_again(uid), name=f"restart/{uid}")
        finally:
            del self._runners[uid]
            self._pool.release(address)

    async def _run_again(self, uid: str) -> None:
        await self._clock.sleep(_RESTART_DELAY)
        assert self._informers is not None
        for pod in self._informers[PODS].objects.values():
            if uid_of(pod) == uid:
                self._pod_changed(None, pod)

    async def _connect(self, request: Connect) -> socket.socket:
        """Open a socket inside a pod for the agent."""
        runner = self._runners.get(request.uid)
        if runner is None or runner.sandbox is None:
            raise NotFoundError(f"no pod {request.uid} runs here")
        try:
            return await runner.sandbox.connect(
                request.host, request.port, source=request.source, timeout=request.timeout_seconds
            )
        except TimeoutError:
            raise UnavailableError(f"no answer from port {request.port} of the pod") from None

    def _find_runner(self, namespace: str, name: str) -> PodRunner:
        for runner in self._runners.values():
            metadata = runner.state.pod.metadata
            if (metadata.namespace, metadata.name) == (namespace, name):
                return runner
        raise NotFoundError(f'pods "{name}" does not run on this node')

    def find_sandbox(self, namespace: str, name: str) -> Sandbox:
        """Return a running pod's namespaces, for sockets inside it; raises NotFoundError."""
        sandbox = self._find_runner(namespace, name).sandbox
        if sandbox is None or sandbox.closed.is_set():
            raise NotFoundError(f'pod "{name}" has no sandbox now')
        return sandbox

    async def logs(
        self,
        namespace: str,
        name: str,
        container: str,
        *,
        follow: bool,
        tail_lines: int | None,
        previous: bool,
        since: datetime.datetime | None,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """Yield a container's log; raises NotFoundError when it has written none."""
        state = self._find_runner(namespace, name).state
        directory = self._places.log(state.pod.metadata.uid, container)
        attempts = find_attempts(directory)
        if previous:
            attempts = attempts[:-1]
            if not attempts:
                message = f'previous terminated container "{container}" in pod "{name}" not found'
                raise NotFoundError(message)
        if not attempts:
            raise NotFoundError(f'container "{container}" in pod "{name}" has not started yet: it has no log')
        key = f"{container}/{attempts[-1]}"
        pieces = read_log(
            directory,
            attempts[-1],
            ended=lambda: state.current_key(container) != key,
            follow=follow,
            tail_lines=tail_lines,
            since=since,
            timestamps=timestamps,
        )
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def execute(
        self,
        namespace: str,
        name: str,
        container: str,
        arguments: list[str],
        standard: tuple[int, int, int] | None,
    ) -> Execution:
        """Run a program in a running container (`PodIO`); raises NotFoundError or SandboxError."""
        runner = self._find_runner(namespace, name)
        key = runner.state.current_key(container)
        if key is None or runner.sandbox is None:
            raise NotFoundError(f'container not found ("{container}")')
        return await runner.sandbox.execute(key, arguments, standard)
