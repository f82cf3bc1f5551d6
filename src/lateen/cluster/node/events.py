"""Events of the node about pods: what `kubectl describe pod` lists.

Flow: `record(pod, reason, message)` -> queue -> Event objects; the same event again raises the count of the first.
Invariants: recording never waits and never fails the caller; when the API server is away the oldest events are lost.
Source: Kubernetes API reference v1.34, `core/v1` Event; kubelet's reasons.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, metadata_of
from lateen.base.errors import LateenError
from lateen.cluster.node.status import format_time
from lateen.kube.client import Client
from lateen.runtime.clock import Clock
from lateen.runtime.logging import get_logger

log = get_logger("node/events")

_QUEUED = 1000
_REMEMBERED = 1000

_Identity = tuple[str, str, str, str]


class EventRecorder:
    """Writes events as component `kubelet`."""

    def __init__(self, client: Client, kind: Kind, clock: Clock, *, host: str) -> None:
        self._client = client
        self._kind = kind
        self._clock = clock
        self._host = host
        self._queue: asyncio.Queue[tuple[_Identity, JsonObject]] = asyncio.Queue(_QUEUED)
        self._written: OrderedDict[_Identity, tuple[str, int]] = OrderedDict()
        self._serial = clock.monotonic().microseconds

    def record(self, pod: JsonObject, reason: str, message: str, *, warning: bool = False, container: str = "") -> None:
        """Note an event of a pod, or of one of its containers."""
        metadata = metadata_of(pod)
        reference: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        if container:
            reference["fieldPath"] = f"spec.containers{{{container}}}"
        now = format_time(self._clock.now())
        self._serial += 1
        document: JsonObject = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": metadata["namespace"],
                "name": f"{metadata['name']}.{self._clock.now().timestamp():.0f}{self._serial:06x}",
            },
            "involvedObject": reference,
            "reason": reason,
            "message": message[:1024],
            "type": "Warning" if warning else "Normal",
            "source": {"component": "kubelet", "host": self._host},
            "reportingComponent": "kubelet",
            "reportingInstance": self._host,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(((metadata["uid"], container, reason, document["message"]), document))

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            identity, document = await self._queue.get()
            try:
                await self._write(identity, document)
            except LateenError as error:
                log.debug("event not written", reason=document["reason"], error=error.message)

    async def _write(self, identity: _Identity, document: JsonObject) -> None:
        namespace = document["metadata"]["namespace"]
        if identity in self._written:
            name, count = self._written[identity]
            self._written[identity] = (name, count + 1)
            self._written.move_to_end(identity)
            change = {"count": count + 1, "lastTimestamp": document["lastTimestamp"]}
            await self._client.patch(self._kind, namespace, name, change)
            return
        await self._client.create(self._kind, document)
        self._written[identity] = (document["metadata"]["name"], 1)
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
