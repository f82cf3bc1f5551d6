"""One pod on the node: asks for its plan, carries it out, publishes its status, until the pod is gone.

Flow: Pod documents and what `PodState` records -> `sync.plan` -> `PodActions` -> ... ; record -> status.
Invariants: every task of the pod ends with the runner; the API object is deleted last; when the node stops, the pod
stays bound and its logs stay, so that the next life of the node goes on with it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from lateen.api.objects import JsonObject
from lateen.base.errors import LateenError
from lateen.cluster.node import sync
from lateen.cluster.node.containers import NodeContext
from lateen.cluster.node.pod_actions import PodActions
from lateen.cluster.node.pod_api import PodApi
from lateen.cluster.node.pod_state import PodState, decode_pod
from lateen.cluster.node.record import PodRecord, SandboxStage, Stage
from lateen.cluster.node.sandbox import NodeNamespace, Sandbox
from lateen.cluster.node.status import build_status, take_conditions
from lateen.cluster.node.withdrawal import find_limit, wait_withdrawn
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import TaskSet

log = get_logger("node/runner")

_DELETE_RETRY = timedelta(seconds=1)


class PodRunner:
    """Runs one pod."""

    def __init__(
        self,
        context: NodeContext,
        node: NodeNamespace,
        api: PodApi,
        document: JsonObject,
        record: PodRecord,
        allocatable: Mapping[str, float],
    ) -> None:
        """`record` holds the address, and what an earlier life of the node left in the status."""
        self.state = PodState(document, record, api, context.clock)
        metadata = self.state.pod.metadata
        self._context = context
        self._tasks = TaskSet(f"pod/{metadata.namespace}/{metadata.name}")
        self._actions = PodActions(context, node, self.state, self._tasks, allocatable)
        self._gone = False
        self._deleting = False
        self._status: JsonObject = document.get("status") or {}
        self._take(document)

    @property
    def sandbox(self) -> Sandbox | None:
        """The pod's namespaces while they exist."""
        return self._actions.sandbox

    def update(self, document: JsonObject) -> None:
        """Take a newer version of the object."""
        self._take(document)
        self.state.changed.set()

    def _take(self, document: JsonObject) -> None:
        state = self.state
        state.document, state.pod = document, decode_pod(document)
        self._status = take_conditions(self._status, document.get("status") or {})
        metadata = state.pod.metadata
        if metadata.deletion_timestamp is None:
            return
        grace = metadata.deletion_grace_period_seconds
        seconds = state.pod.spec.termination_grace_period_seconds if grace is None else grace
        stop_by = state.now() + timedelta(seconds=seconds)
        if state.record.stop_by is None:
            self._withdraw(timedelta(seconds=seconds))
        elif not seconds:
            state.set(replace(state.record, withdrawing=False))
        if state.record.stop_by is None or stop_by < state.record.stop_by:
            state.set(replace(state.record, stop_by=stop_by))

    def _withdraw(self, grace: timedelta) -> None:
        """Let nothing of the pod end while requests may still come."""
        state, services = self.state, self._context.services
        running = any(one.stage is Stage.RUNNING for one in state.record.containers.values())
        if not grace or not running or not services.find_by_endpoint(state.record.address):
            return
        state.set(replace(state.record, withdrawing=True))

        async def wait() -> None:
            await wait_withdrawn(services, state.record.address, self._context.clock, find_limit(grace))
            state.set(replace(state.record, withdrawing=False))

        self._tasks.start(wait(), name="withdraw")

    def vanish(self) -> None:
        """The object is gone: end at once."""
        self._gone = True
        self.state.changed.set()

    def references_changed(self) -> None:
        """A ConfigMap or Secret of the namespace changed: try again what waits for one, refresh volumes."""
        record = self.state.record
        for name, container in record.containers.items():
            if container.stage is Stage.WAITING and container.reason == "CreateContainerConfigError":
                record = record.put(name, replace(container, retry_at=None))
        if record.sandbox is SandboxStage.ABSENT:
            record = replace(record, retry_at=None)
        if record.sandbox is SandboxStage.READY:
            self._tasks.start(self._actions.refresh(), name="refresh")
        if record != self.state.record:
            self.state.set(record)

    async def run(self) -> None:
        """Carry out the plan until the pod is deleted, or cancelled."""
        state = self.state
        self._tasks.start(state.api.publisher.run(), name="status")
        try:
            while not self._gone:
                state.changed.clear()
                now = state.now()
                if state.record.failure is None and sync.is_past_deadline(state.pod, state.record, now):
                    reason = "Pod was active on the node longer than the specified deadline"
                    state.record = replace(state.record, failure=("DeadlineExceeded", reason))
                decided = sync.plan(state.pod, state.record, now)
                for action in decided.actions:
                    self._act(action)
                self._status = build_status(state.pod, state.record, now, self._status)
                state.api.publisher.publish(self._status)
                await self._wait(decided.wake_at)
        finally:
            await self._tasks.close()
            await self._actions.tear_down()
            self._clean()

    def _clean(self) -> None:
        uid = self.state.pod.metadata.uid
        shutil.rmtree(self._context.places.pod_runtime(uid), ignore_errors=True)
        if self._gone:
            shutil.rmtree(self._context.places.pod(uid), ignore_errors=True)

    async def _wait(self, wake_at: datetime | None) -> None:
        state = self.state
        moments = [moment for moment in (wake_at, self._actions.renew_at) if moment is not None]
        limit = max(0.0, (min(moments) - state.now()).total_seconds()) if moments else None
        try:
            async with asyncio.timeout(limit):
                await state.changed.wait()
        except TimeoutError:
            renew_at = self._actions.renew_at
            if renew_at is not None and renew_at <= state.now():
                await self._actions.refresh()

    def _act(self, action: sync.Action) -> None:
        state = self.state
        match action:
            case sync.Prepare():
                began = state.record.started_at or state.now()
                state.record = replace(state.record, sandbox=SandboxStage.PREPARING, retry_at=None, started_at=began)
                self._tasks.start(self._actions.prepare(), name="prepare")
            case sync.Start(name):
                self._actions.start(name)
            case sync.Stop(name, deadline):
                self._actions.stop(name, deadline, f"Stopping container {name}")
            case sync.TearDown():
                state.set(replace(state.record, sandbox=SandboxStage.REMOVED))
                self._tasks.start(self._actions.tear_down(), name="tear down")
            case sync.Forget():
                if not self._deleting:
                    self._deleting = True
                    self._tasks.start(self._forget(), name="forget")

    async def _forget(self) -> None:
        try:
            await self.state.api.delete()
        except LateenError as error:
            log.warning("pod not deleted", pod=self.state.pod.metadata.name, error=error.message)
            await self._context.clock.sleep(_DELETE_RETRY)
            self._deleting = False
            self.state.changed.set()
            return
        self.vanish()
