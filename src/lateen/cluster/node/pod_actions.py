"""The effects of one pod's plan: making its sandbox, starting and stopping its containers.

Flow: action -> sandbox, files, processes -> `PodState` records how it went.
Invariants: a failure becomes part of the record and an Event, never an exception; supervisors and stops of a container
end with its attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from lateen.api.container import Container
from lateen.base.errors import LateenError
from lateen.cluster.images import UnknownImage, is_proxy
from lateen.cluster.node import proxy as mesh
from lateen.cluster.node import sync
from lateen.cluster.node.containers import NodeContext, PodContainers
from lateen.cluster.node.fields import ConfigError, PodFields
from lateen.cluster.node.pod_state import ContainerReport, PodState, make_key, next_attempt
from lateen.cluster.node.probes import supervise
from lateen.cluster.node.record import SandboxStage, Stage
from lateen.cluster.node.root_files import find_host_name
from lateen.cluster.node.sandbox import NodeNamespace, Sandbox
from lateen.cluster.node.volumes import Volumes
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import TaskSet

log = get_logger("node/pod")

CONFIG_RETRY = timedelta(seconds=2)
IMAGE_RETRY = timedelta(seconds=10)
RENEWAL_RETRY = timedelta(seconds=10)
_START_FAILED, _KILLED = 128, 137


class PodActions:
    """What the runner of one pod does to the machine."""

    def __init__(
        self,
        context: NodeContext,
        node: NodeNamespace,
        state: PodState,
        tasks: TaskSet,
        allocatable: Mapping[str, float],
    ) -> None:
        self.sandbox: Sandbox | None = None
        self._context = context
        self._node = node
        self._state = state
        self._tasks = tasks
        self._allocatable = allocatable
        self._attached: dict[str, list[asyncio.Task[None]]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._containers: PodContainers | None = None
        self._volumes: Volumes | None = None
        self._proxy: mesh.PodProxy | None = None
        self._not_before: datetime | None = None
        state.on_end = self._detach

    @property
    def renew_at(self) -> datetime | None:
        """When a token of the pod has to be renewed."""
        moments = [each.renew_at for each in (self._volumes, self._proxy) if each is not None]
        first = min((moment for moment in moments if moment is not None), default=None)
        return first if first is None or self._not_before is None else max(first, self._not_before)

    async def refresh(self) -> None:
        """Bring volumes and credentials up to date."""
        try:
            self._not_before = None
            if self._volumes is not None:
                await self._volumes.refresh()
            proxy = self._proxy
            if proxy is not None and (proxy.stale or (proxy.renew_at and proxy.renew_at <= self._state.now())):
                await proxy.refresh()
        except (ConfigError, LateenError, OSError) as error:
            self._not_before = self._state.now() + RENEWAL_RETRY
            log.warning("volumes not refreshed", pod=self._state.pod.metadata.name, error=str(error))

    async def prepare(self) -> None:
        """Make volumes and sandbox."""
        state, context, pod = self._state, self._context, self._state.pod
        fields = PodFields(pod, state.record.address, self._allocatable)
        source = context.references.source(pod.metadata.namespace)
        runtime = context.places.pod_runtime(pod.metadata.uid)
        volumes = Volumes(
            fields,
            source,
            state.api.issue_token,
            context.clock,
            directory=context.places.pod(pod.metadata.uid),
            runtime_directory=runtime,
            claims=context.places.claims,
        )
        try:
            await volumes.prepare()
            sandbox = await self._node.create_sandbox(
                pod.metadata.uid, find_host_name(pod), state.record.address, state.exited
            )
        except ConfigError as error:
            self._not_prepared("FailedMount", f"MountVolume.SetUp failed for {error}", "")
            return
        except (LateenError, OSError) as error:
            self._not_prepared("FailedCreatePodSandBox", str(error), str(error))
            return
        except Exception as error:
            log.error("pod not prepared", pod=pod.metadata.name, exc_info=error)
            self._not_prepared("FailedCreatePodSandBox", f"internal error: {error!r}", f"internal error: {error!r}")
            return
        self.sandbox, self._volumes = sandbox, volumes
        self._proxy = mesh.PodProxy(
            pod, state.record.address, sandbox, source, state.api.issue_token, context.agent, runtime
        )
        self._containers = PodContainers(context, fields, sandbox, volumes, self._proxy)
        self._tasks.start(self._watch_sandbox(sandbox), name="sandbox")
        state.set(replace(state.record, sandbox=SandboxStage.READY, message=""))

    def _not_prepared(self, reason: str, event: str, message: str) -> None:
        state = self._state
        state.event(reason, event, warning=True)
        retry_at = state.now() + CONFIG_RETRY
        state.set(replace(state.record, sandbox=SandboxStage.ABSENT, retry_at=retry_at, message=message))

    async def _watch_sandbox(self, sandbox: Sandbox) -> None:
        """When the sandbox ends by itself, everything in it has ended, and it is made anew."""
        await sandbox.closed.wait()
        if self._state.record.sandbox is SandboxStage.READY:
            self._state.event("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            self._state.end_all(_KILLED, "ContainerStatusUnknown", "The pod's sandbox ended")

    async def tear_down(self) -> None:
        """Remove the sandbox and have the agent forget the pod."""
        if self.sandbox is not None:
            self.sandbox.close()
        if self._proxy is not None:
            await self._proxy.remove()

    def start(self, name: str) -> None:
        """Begin to start a container; how that goes is recorded when it is known."""
        self._state.record = self._state.record.put(name, self._state.record.container(name).begin())
        self._starting[name] = self._tasks.start(self._start(name), name=f"start/{name}")

    async def _start(self, name: str) -> None:
        state = self._state
        container = sync.find_container(state.pod, name)
        assert container is not None and self._containers is not None and self.sandbox is not None
        attempt = next_attempt(state.record.container(name))
        began = state.now()
        try:
            if mesh.is_rule_installer(state.pod, container):
                await mesh.install_rules(self.sandbox, mesh.find_interception(state.pod, container))
                state.end(name, 0, "Completed", started_at=began)
                return
            if is_proxy(container.image):
                container = mesh.with_probes(container)
            await self._containers.start(container, make_key(name, attempt), attempt)
        except UnknownImage as error:
            self._refuse_image(container, str(error))
        except ConfigError as error:
            state.event("Failed", f"Error: {error}", warning=True, container=name)
            state.wait(name, "CreateContainerConfigError", str(error), CONFIG_RETRY)
        except (LateenError, OSError) as error:
            self._not_started(name, f"failed to start container: {error}", began)
        except Exception as error:
            log.error("container not started", pod=state.pod.metadata.name, container=name, exc_info=error)
            self._not_started(name, f"failed to start container: internal error: {error!r}", began)
        else:
            self._started(container, attempt)

    def _not_started(self, name: str, message: str, began: datetime) -> None:
        if self.sandbox is not None and self.sandbox.closed.is_set():
            return  # the sandbox's watcher records it
        self._state.event("Failed", f"Error: {message}", warning=True, container=name)
        self._state.end(name, _START_FAILED, "StartError", message, started_at=began)

    def _refuse_image(self, container: Container, message: str) -> None:
        state, name = self._state, container.name
        again = state.record.container(name).reason in ("ErrImagePull", "ImagePullBackOff")
        reason = "ImagePullBackOff" if again else "ErrImagePull"
        shown = f'Back-off pulling image "{container.image}": {message}' if again else message
        event = "BackOff" if again else "Failed"
        state.event(event, shown, warning=not again, container=name)
        state.wait(name, reason, shown, IMAGE_RETRY)

    def _started(self, container: Container, attempt: int) -> None:
        state, name = self._state, container.name
        for reason, text in (
            ("Pulled", f'Container image "{container.image}" already present on machine'),
            ("Created", f"Created container: {name}"),
            ("Started", f"Started container {name}"),
        ):
            state.event(reason, text, container=name)
        record = state.record.container(name)
        if record.stage is not Stage.STARTING:
            return  # it ended before its start was told
        hooked = container.lifecycle is not None and container.lifecycle.post_start is not None
        started = container.startup_probe is None and not hooked
        ready = started and container.readiness_probe is None
        state.put(name, record.run(state.now(), started=started, ready=ready))
        self._attach(name, self._tasks.start(self._supervise(container, attempt), name=f"probe/{name}"))

    def _attach(self, name: str, task: asyncio.Task[None]) -> None:
        self._attached.setdefault(name, []).append(task)

    def _detach(self, name: str) -> None:
        for task in self._attached.pop(name, ()):
            if task is not asyncio.current_task():
                task.cancel()

    async def _supervise(self, container: Container, attempt: int) -> None:
        assert self._containers is not None
        key = make_key(container.name, attempt)
        report = ContainerReport(
            self._state, container, key, lambda message, grace: self._fail(container.name, message, grace)
        )
        prober = self._containers.prober(container, key)
        if container.lifecycle is not None and container.lifecycle.post_start is not None:
            verdict = await prober.run_hook(container.lifecycle.post_start)
            if not verdict.ok:
                report.hook_failed("FailedPostStartHook", f"PostStartHook failed: {verdict.message}")
                return
        period = mesh.STARTUP_PERIOD if is_proxy(container.image) else None
        await supervise(container, prober, report, self._context.clock, startup_period=period)

    def _fail(self, name: str, message: str, grace: timedelta) -> None:
        record = self._state.record.container(name)
        if record.stage is Stage.RUNNING and not record.stopping:
            self.stop(name, self._state.now() + grace, message)

    def stop(self, name: str, deadline: datetime, message: str) -> None:
        """Begin to end a running container; its end is recorded when it comes."""
        state = self._state
        if state.record.container(name).stage is Stage.STARTING:
            # It may wait for something that never comes, such as an agent; the sandbox ends what it began.
            self._starting[name].cancel()
            state.wait(name, "ContainerCreating", "", timedelta(0))
            return
        container, key = sync.find_container(state.pod, name), state.current_key(name)
        assert container is not None and self._containers is not None and key is not None
        state.event("Killing", message, container=name)
        state.put(name, replace(state.record.container(name), stopping=True))

        def hook_failed(text: str) -> None:
            state.event("FailedPreStopHook", f"PreStopHook failed: {text}", warning=True, container=name)

        stopping = self._containers.stop(container, key, deadline, hook_failed)
        self._attach(name, self._tasks.start(stopping, name=f"stop/{name}"))
