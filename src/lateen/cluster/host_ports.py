"""The host's side of Services: node ports and load balancers -> ports of 127.0.0.1 -> ready endpoints.

Flow: Services -> `plan_ports` (host port -> Service port) -> one listener each -> connection -> a ready endpoint, by
chance, another one if it refuses -> bytes both ways (relay.py).

| type         | host ports                                             |
| ------------ | ------------------------------------------------------ |
| NodePort     | each `nodePort`                                        |
| LoadBalancer | each `nodePort` and each `port`, where it may be bound |

Invariants: changes of Services and endpoints count from the next connection on; connections under way stay, unless
their port goes. A port that cannot be bound is told once by an Event of the Service and in the log, and tried again;
it stops nothing else. Of two Services that want one port the first by namespace and name has it. TCP only.
Source: the Kubernetes page "Service", types NodePort and LoadBalancer.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from lateen.api.core import Service
from lateen.api.objects import JsonObject, ObjectKey
from lateen.base.errors import LateenError
from lateen.cluster.controllers.actions import Report
from lateen.cluster.controllers.events import build_event
from lateen.cluster.controllers.state import ENDPOINT_SLICE, EVENT, SERVICE
from lateen.cluster.network.services import find_targets
from lateen.cluster.ports import listen_on
from lateen.cluster.relay import Relay
from lateen.cluster.service_directory import ServiceDirectory
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff, TaskSet

log = get_logger("cluster/host-ports")

_BACKLOG = 1024
_ENDPOINTS_TRIED = 3
_ENDPOINT_SECONDS = 2.0
_FIRST_DELAY, _LONGEST_DELAY = timedelta(milliseconds=200), timedelta(seconds=10)

Dial = Callable[[str, int], Awaitable[socket.socket]]
"""Opens a connection to a pod's address and port; raises OSError."""


class ServicePortKey(NamedTuple):
    """A port of a Service; `node_port` is what else leads to it, 0 if nothing does."""

    service: ObjectKey
    name: str
    node_port: int


def plan_ports(services: Mapping[ObjectKey, Service]) -> dict[int, ServicePortKey]:
    """Which host port leads to which Service port."""
    plan: dict[int, ServicePortKey] = {}
    ports: list[tuple[int, ServicePortKey]] = []
    for key, service in sorted(services.items()):
        if service.spec.type not in ("NodePort", "LoadBalancer"):
            continue
        for port in service.spec.ports:
            if port.protocol != "TCP":
                continue
            target = ServicePortKey(key, port.name, port.node_port or 0)
            if port.node_port:
                plan[port.node_port] = target
            if service.spec.type == "LoadBalancer" and service.spec.load_balancer_class is None:
                ports.append((port.port, target))
    for number, target in ports:
        plan.setdefault(number, target)
    return plan


class HostPorts:
    """The listeners of one cluster."""

    def __init__(self, client: Client, dial: Dial, *, reserved: Iterable[int] = ()) -> None:
        """`reserved` are host ports of the cluster's own, which no Service gets."""
        self._client = client
        self._dial = dial
        self._reserved = frozenset(reserved)
        self._directory = ServiceDirectory()
        self._documents: dict[ObjectKey, JsonObject] = {}
        self._plan: dict[int, ServicePortKey] = {}
        self._listening: dict[int, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._tasks = TaskSet("host-ports")
        self._informers = InformerSet(client, on_changes=self._on_changes)
        for kind in (SERVICE, ENDPOINT_SLICE):
            self._informers.add(kind)

    async def run(self) -> None:
        """Listen until cancelled."""
        self._tasks.start(self._informers.run(), name="informers")
        self._tasks.start(self._follow(), name="follow")
        try:
            await self._tasks.wait()
        finally:
            await self._tasks.close()

    def _on_changes(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self._directory.apply(change)
            if change.kind is SERVICE:
                self._changed.set()
                if change.new is None:
                    self._documents.pop(change.key, None)
                else:
                    self._documents[change.key] = change.new

    async def _follow(self) -> None:
        await self._informers.synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            plan = plan_ports(self._directory.services)
            gone = [self._listening.pop(port) for port in self._listening.keys() - plan.keys()]
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            self._plan = plan
            for port in sorted(plan.keys() - self._listening.keys()):
                self._listening[port] = self._tasks.start(self._serve(port), name=str(port))

    async def _serve(self, port: int) -> None:
        backoff, told = Backoff(_FIRST_DELAY, _LONGEST_DELAY), None
        while True:
            try:
                listener = self._listen(port)
            except OSError as error:
                if told != self._plan[port]:
                    told = self._plan[port]
                    await self._tell(port, told, error)
                await asyncio.sleep(backoff.next().total_seconds())
                continue
            log.info("listening", port=port, service=str(self._plan[port].service))
            await Relay(listener, lambda: self._connect(port)).serve()

    def _listen(self, port: int) -> socket.socket:
        if port in self._reserved:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = listen_on(port)
        try:
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    async def _connect(self, port: int) -> socket.socket:
        target = self._plan.get(port)
        slices = self._directory.find_slices(*target.service) if target is not None else ()
        found = find_targets(slices, target.name, "TCP") if target is not None else ()
        failure: OSError | TimeoutError = ConnectionRefusedError(errno.ECONNREFUSED, "no endpoint is ready")
        for endpoint in random.sample(found, min(len(found), _ENDPOINTS_TRIED)):
            try:
                async with asyncio.timeout(_ENDPOINT_SECONDS):
                    return await self._dial(endpoint.address, endpoint.port)
            except (OSError, TimeoutError) as error:
                failure = error
        raise failure

    async def _tell(self, port: int, target: ServicePortKey, error: OSError) -> None:
        document = self._documents.get(target.service)
        if document is None:
            return
        text = f"port {port} of 127.0.0.1 cannot be used: {error.strerror}"
        if target.node_port and target.node_port != port:
            text += f"; the service is reachable at 127.0.0.1:{target.node_port}"
        log.warning(text, service=str(target.service))
        report = Report(SERVICE, document, "PortUnavailable", text, warning=True)
        event = build_event(report, name=target.service.name, serial=time.time_ns() >> 10, now=datetime.now(UTC))
        try:
            await self._client.create(EVENT, event)
        except LateenError as failure:
            log.debug("event not written", error=failure.message)
