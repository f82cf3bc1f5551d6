"""A node that runs nothing: every pod is given an address and reported ready, or as a test says, and ends at once.

`async with run_pretend_node(client) as node:` -> pods become ready; `node.judge` decides how a new pod stands. For
tests of what makes pods, not of what runs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from lateen.api.objects import JsonObject, is_terminating, key_of
from lateen.base.errors import ConflictError, NotFoundError
from lateen.cluster.controllers.state import NODE, POD
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet

Judge = Callable[[JsonObject], str]


class PretendNode:
    """`judge` maps a pod to `Ready`, `NotReady`, `Succeeded` or `Failed`; `ends` says whether pods that end go."""

    def __init__(self, client: Client) -> None:
        self.judge: Judge = lambda pod: "Ready"
        self.ends = True
        self.most = 0
        self._client = client
        self._serial = 0
        self._queue: asyncio.Queue[JsonObject] = asyncio.Queue()
        self._informers = InformerSet(client, on_changes=self._on_changes)
        self._pods = self._informers.add(POD)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informers.run())
            while True:
                await self._tend(await self._queue.get())

    def look_again(self) -> None:
        """Judge every pod anew."""
        for pod in self._pods.objects.values():
            self._queue.put_nowait(pod)

    def _on_changes(self, changes: tuple[Change, ...]) -> None:
        self.most = max(self.most, len(self._pods.objects))
        for change in changes:
            if change.new is not None:
                self._queue.put_nowait(change.new)

    async def _tend(self, pod: JsonObject) -> None:
        key, status = key_of(pod), pod.get("status") or {}
        verdict = self.judge(pod)
        try:
            if is_terminating(pod):
                if self.ends:
                    await self._client.delete(POD, *key, grace_period_seconds=0)
            elif not pod["spec"].get("nodeName"):
                binding = {"metadata": {"name": key.name}, "target": {"kind": "Node", "name": "lateen"}}
                await self._client.post_subresource(POD, *key, "binding", binding)
            elif _read(status) != verdict:
                self._serial += 1
                change = {"status": _build_status(verdict, f"10.244.1.{self._serial % 250 + 1}")}
                await self._client.patch(POD, *key, change, subresource="status")
        except (NotFoundError, ConflictError):
            return


def _read(status: JsonObject) -> str:
    if status.get("phase") in ("Succeeded", "Failed"):
        return str(status["phase"])
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            return "Ready" if condition["status"] == "True" else "NotReady"
    return ""


def _build_status(verdict: str, address: str) -> JsonObject:
    phase = verdict if verdict in ("Succeeded", "Failed") else "Running"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": str(verdict == "Ready"), "lastTransitionTime": now}
    status: dict[str, Any] = {"phase": phase, "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
    return status


@asynccontextmanager
async def run_pretend_node(client: Client) -> AsyncIterator[PretendNode]:
    """Run one until the block ends."""
    await client.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lateen"}})
    node = PretendNode(client)
    task = asyncio.create_task(node.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
