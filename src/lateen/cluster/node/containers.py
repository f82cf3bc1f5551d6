"""Starting and stopping the containers of one pod in its sandbox.

Flow: container -> program, environment, volumes -> running in the sandbox; stop -> preStop, SIGTERM, and SIGKILL at the
deadline.
Invariants: nothing here decides: the plan says which container and when. A reference that cannot be resolved raises
ConfigError, an image without program UnknownImage, a program that cannot be run SandboxError.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lateen.api.container import Container
from lateen.api.pod import Pod
from lateen.cluster.images import ImageTable, Interpreter, is_proxy
from lateen.cluster.node.container_spec import Places, build_start
from lateen.cluster.node.environment import build_environment, build_service_variables
from lateen.cluster.node.fields import PodFields
from lateen.cluster.node.probes import Prober
from lateen.cluster.node.proxy import CAPABILITIES, PodProxy, find_farewell
from lateen.cluster.node.references import References
from lateen.cluster.node.root_files import find_host_name
from lateen.cluster.node.sandbox import Sandbox, SandboxError
from lateen.cluster.node.volumes import Volumes
from lateen.cluster.service_directory import ServiceDirectory
from lateen.runtime.agent_client import AgentClient
from lateen.runtime.clock import Clock
from lateen.runtime.logging import get_logger

MIN_STOP = timedelta(seconds=2)
"""What SIGTERM gets even when preStop has used up the grace period; as kubelet."""


log = get_logger("node/containers")


@dataclass(frozen=True)
class NodeContext:
    """What all pods of the node share."""

    references: References
    services: ServiceDirectory
    images: ImageTable
    interpreter: Interpreter
    places: Places
    agent: AgentClient | None
    clock: Clock
    name_server: str


class PodContainers:
    """The containers of one pod that has a sandbox."""

    def __init__(
        self, context: NodeContext, fields: PodFields, sandbox: Sandbox, volumes: Volumes, proxy: PodProxy
    ) -> None:
        self._context = context
        self._fields = fields
        self._pod: Pod = fields.pod
        self._sandbox = sandbox
        self._volumes = volumes
        self._proxy = proxy

    async def start(self, container: Container, key: str, attempt: int) -> None:
        """Start one container; returns when its program runs."""
        context = self._context
        capabilities: tuple[int, ...] = ()
        own_binds = []
        if is_proxy(container.image):
            await self._proxy.register(container)
            program = self._proxy.build_program(container)
            own_binds = self._proxy.binds
            capabilities = CAPABILITIES
        else:
            program = context.images.resolve(container)
        namespace = self._pod.metadata.namespace
        environment = build_environment(
            container,
            self._fields,
            context.references.source(namespace),
            image=program.image.environment,
            services=self._service_variables(namespace),
            host_name=find_host_name(self._pod),
        )
        # What is mounted last is seen: the proxy's own files, though Istio's template has a volume in their place.
        binds = [*self._volumes.find_binds(container, environment), *own_binds]
        request = build_start(
            self._pod,
            container,
            program,
            attempt=attempt,
            address=self._fields.address,
            name_server=context.name_server,
            environment=environment,
            binds=binds,
            places=context.places,
            interpreter=context.interpreter,
            capabilities=capabilities,
        )
        await self._sandbox.start(key, request)
        pod = f"{namespace}/{self._pod.metadata.name}"
        log.info("container started", pod=pod, container=container.name, image=container.image)

    def _service_variables(self, namespace: str) -> dict[str, str]:
        if not self._pod.spec.enable_service_links:
            return {}
        known = self._context.services
        services = [service for key, service in sorted(known.services.items()) if key.namespace == namespace]
        kubernetes = known.find_service("default", "kubernetes")
        return build_service_variables([*services, *([kubernetes] if kubernetes else [])])

    def prober(self, container: Container, key: str) -> Prober:
        """Return what asks this container."""
        return Prober(self._sandbox, self._fields.address, container, key)

    async def stop(
        self, container: Container, key: str, deadline: datetime, on_hook_failure: Callable[[str], None]
    ) -> None:
        """Ask the container to end, and end it by force at the deadline; returns when that is under way."""
        lifecycle = container.lifecycle
        hook = lifecycle.pre_stop if lifecycle is not None else None
        if hook is None and is_proxy(container.image):
            hook = find_farewell(self._pod, container)
        if hook is not None:
            left = (deadline - self._context.clock.now()).total_seconds()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    verdict = await self.prober(container, key).run_hook(hook)
                if not verdict.ok:
                    on_hook_failure(verdict.message)
            except TimeoutError:
                on_hook_failure("it did not end within the grace period")
        number = _find_signal(lifecycle.stop_signal if lifecycle else None)
        with contextlib.suppress(SandboxError):
            await self._sandbox.signal(key, number)
        left_for_signal = max(deadline - self._context.clock.now(), MIN_STOP)
        if self._pod.metadata.deletion_grace_period_seconds == 0:
            left_for_signal = timedelta(0)
        await self._context.clock.sleep(left_for_signal)
        with contextlib.suppress(SandboxError):
            await self._sandbox.kill(key)


def _find_signal(name: str | None) -> int:
    if name is None:
        return signal.SIGTERM
    return getattr(signal, name, signal.SIGTERM)
