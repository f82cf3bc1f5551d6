"""What makes Services work on the node: cluster DNS, service rules, and the bridge's ports that lead to the host.

Flow: informers -> `ServiceDirectory` -> DNS answers at once; changed Services -> elements -> one batch of rules after
10 ms, so that a burst is one batch.
Invariants: nothing is answered or refused before every Service is known; after a refusal by the kernel the table is
built anew from what should be there, until the kernel takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from datetime import timedelta

from lateen.api.objects import ObjectKey
from lateen.cluster.dns import DnsServer
from lateen.cluster.network.nft import Batch
from lateen.cluster.network.services import (
    Elements,
    build_elements,
    build_service_changes,
    build_service_rules,
    merge_elements,
)
from lateen.cluster.node.sandbox import NodeNamespace, SandboxError
from lateen.cluster.relay import Relay, connect_to_host
from lateen.cluster.service_directory import KINDS, ServiceDirectory
from lateen.cluster.zygote import BRIDGE_ADDRESS, DNS_ADDRESS, SERVICE_NETWORK
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff, TaskSet

log = get_logger("cluster/services")

DNS_PORT = 53
_COALESCE_SECONDS = 0.01
_FIRST_DELAY = timedelta(milliseconds=50)
_LONGEST_DELAY = timedelta(seconds=5)


class NodeServices:
    """DNS, rules and relays of one node."""

    def __init__(self, client: Client, namespace: NodeNamespace, relays: Mapping[int, int] | None = None) -> None:
        """`relays`: port of the bridge address -> port of 127.0.0.1 on the host."""
        self.directory = ServiceDirectory()
        self._namespace = namespace
        self._relays = dict(relays or {})
        self._dns = DnsServer(self.directory)
        self._rules = ServiceRules(self.directory, namespace)
        self._informers = InformerSet(client, on_changes=self._on_changes)
        for kind in KINDS:
            self._informers.add(kind)

    async def ready(self) -> None:
        """Wait until pods can resolve and reach every Service."""
        await self._rules.applied.wait()

    async def run(self) -> None:
        """Run until cancelled, or until the node namespace is gone: SandboxError."""
        await self._namespace.wait_ready()
        tasks = TaskSet("services")
        # The sockets are closed here, too, because a task that is cancelled before its first step closes nothing.
        with contextlib.ExitStack() as sockets:
            try:
                tasks.start(self._informers.run(), name="informers")
                for port, host_port in self._relays.items():
                    listener = sockets.enter_context(await self._namespace.listen(BRIDGE_ADDRESS, port))
                    tasks.start(Relay(listener, connect_to_host(host_port)).serve(), name=f"relay-{port}")
                tasks.start(self._serve(tasks, sockets), name="start")
                await tasks.wait()
            finally:
                await tasks.close()

    async def _serve(self, tasks: TaskSet, sockets: contextlib.ExitStack) -> None:
        datagrams: list[socket.socket] = []
        streams: list[socket.socket] = []
        # The bridge address is the endpoint of Service kube-dns, which rules and sidecars send clients to.
        for address in (DNS_ADDRESS, BRIDGE_ADDRESS):
            datagrams.append(sockets.enter_context(await self._namespace.listen(address, DNS_PORT, datagram=True)))
            streams.append(sockets.enter_context(await self._namespace.listen(address, DNS_PORT)))
        await self._informers.synced()
        tasks.start(self._dns.serve(datagrams, streams), name="dns")
        tasks.start(self._rules.run(), name="rules")

    def _on_changes(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self._rules.mark(self.directory.apply(change))
        self._dns.forget()


class ServiceRules:
    """The kernel's service rules, kept equal to the directory."""

    def __init__(self, directory: ServiceDirectory, namespace: NodeNamespace) -> None:
        self.applied = asyncio.Event()
        self._directory = directory
        self._namespace = namespace
        self._elements: dict[ObjectKey, Elements] = {}
        self._installed: Elements | None = None
        self._changed: set[ObjectKey] = set()
        self._marked = asyncio.Event()

    def mark(self, services: set[ObjectKey]) -> None:
        """Have the rules of these Services looked at."""
        if services:
            self._changed |= services
            self._marked.set()

    async def run(self) -> None:
        """Apply what was marked, now and at every change."""
        backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY)
        self._marked.set()
        while True:
            await self._marked.wait()
            await asyncio.sleep(_COALESCE_SECONDS if self.applied.is_set() else 0)
            self._marked.clear()
            try:
                await self._apply()
            except SandboxError as error:
                if self._namespace.closed.is_set():
                    raise
                log.error("the kernel refuses the service rules; building them anew", error=error.message)
                self._installed = None
                self._marked.set()
                await asyncio.sleep(backoff.next().total_seconds())
            else:
                backoff.reset()
                self.applied.set()

    async def _apply(self) -> None:
        for key in self._changed:
            service = self._directory.find_service(*key)
            if service is None:
                self._elements.pop(key, None)
            else:
                self._elements[key] = build_elements(service, self._directory.find_slices(*key))
        self._changed.clear()
        wanted = merge_elements(self._elements.values())
        for batch in self._build_batches(wanted):
            await self._namespace.apply_rules(batch)
        self._installed = wanted

    def _build_batches(self, wanted: Elements) -> list[Batch]:
        if self._installed is None:
            return build_service_rules(wanted, network="{}/{}".format(*SERVICE_NETWORK), local_addresses=[DNS_ADDRESS])
        return build_service_changes(self._installed, wanted)
