"""Writes one pod's status to the API server: the newest always, never one behind another.

Flow: `publish(status)` -> merge patch of `pods/status` when it differs from what the server has.
Invariants: one patch is under way at a time; what came meanwhile is merged into one; a pod that is gone ends it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject, name_of, namespace_of, uid_of
from lateen.base.errors import LateenError
from lateen.kube.client import Client
from lateen.kube.errors import ApiConflictError, ApiNotFoundError
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff

log = get_logger("node/status")


class StatusPublisher:
    """The status of one pod."""

    def __init__(self, client: Client, kind: Kind, pod: JsonObject) -> None:
        self._client = client
        self._kind = kind
        self._pod = pod
        self._wanted: JsonObject | None = None
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def publish(self, status: JsonObject) -> None:
        """Have this status written as soon as the one under way is."""
        if status != self._wanted:
            self._wanted = status
            self._idle.clear()
            self._changed.set()

    async def flush(self) -> None:
        """Wait until the newest status is written, or the pod is gone."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled or the pod is gone."""
        backoff = Backoff(timedelta(milliseconds=50), timedelta(seconds=5))
        while True:
            await self._changed.wait()
            self._changed.clear()
            status = self._wanted
            body = {"metadata": {"uid": uid_of(self._pod)}, "status": status}
            try:
                await self._client.patch(
                    self._kind, namespace_of(self._pod), name_of(self._pod), body, subresource="status"
                )
            except (ApiNotFoundError, ApiConflictError):
                self._idle.set()
                return
            except LateenError as error:
                log.warning("status not written", pod=name_of(self._pod), error=error.message)
                self._changed.set()
                await asyncio.sleep(backoff.next().total_seconds())
                continue
            backoff.reset()
            if status is self._wanted:
                self._idle.set()
