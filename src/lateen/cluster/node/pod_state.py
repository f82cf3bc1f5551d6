"""One pod as its runner holds it: the object, the record, and what changes the record.

Flow: events of containers and probes -> new record -> the runner is woken.
Invariants: an event counts only while its attempt is the current one; this is the only place where a record is
replaced because of what happened (actions that begin replace it in the runner).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from lateen.api.codec import decode
from lateen.api.container import Container
from lateen.api.objects import JsonObject
from lateen.api.pod import Pod
from lateen.cluster.node import sync
from lateen.cluster.node.pod_api import PodApi
from lateen.cluster.node.record import ContainerRecord, Ending, PodRecord, SandboxStage, Stage
from lateen.runtime.clock import Clock


def decode_pod(document: JsonObject) -> Pod:
    """Return the typed view; a document that does not decode (none is admitted) is an empty pod that fails."""
    return decode(document, Pod).value or Pod()


def make_key(name: str, attempt: int) -> str:
    """Return the name of one attempt of a container."""
    return f"{name}/{attempt}"


def next_attempt(state: ContainerRecord) -> int:
    """Return the number of the attempt that begins or has begun to start."""
    return state.restarts + (1 if state.attempted else 0)


class PodState:
    """The object and the record of one pod."""

    def __init__(self, document: JsonObject, record: PodRecord, api: PodApi, clock: Clock) -> None:
        self.document = document
        self.pod = decode_pod(document)
        self.record = record
        self.api = api
        self.changed = asyncio.Event()
        self._clock = clock
        self.on_end: Callable[[str], None] = lambda _name: None

    def now(self) -> datetime:
        """Return the time."""
        return self._clock.now()

    def event(self, reason: str, message: str, *, warning: bool = False, container: str = "") -> None:
        """Record an Event."""
        self.api.record(self.document, reason, message, warning=warning, container=container)

    def put(self, name: str, state: ContainerRecord) -> None:
        """Replace a container's record."""
        self.record = self.record.put(name, state)
        self.changed.set()

    def set(self, record: PodRecord) -> None:
        """Replace the pod's record."""
        self.record = record
        self.changed.set()

    def current_key(self, name: str) -> str | None:
        """Return the key of the attempt that runs or starts, None when none does."""
        state = self.record.container(name)
        if state.stage is Stage.RUNNING:
            return make_key(name, state.restarts)
        if state.stage is Stage.STARTING:
            return make_key(name, next_attempt(state))
        return None

    def wait(self, name: str, reason: str, message: str, delay: timedelta) -> None:
        """A container cannot start for a reason outside of it."""
        self.put(name, self.record.container(name).wait(reason, message, self.now() + delay))

    def exited(self, key: str, code: int, message: str) -> None:
        """The sandbox says that an attempt's program ended."""
        name = key.rpartition("/")[0]
        if key == self.current_key(name):
            self.end(name, code, "Completed" if code == 0 else "Error", message)

    def end(self, name: str, code: int, reason: str, message: str = "", started_at: datetime | None = None) -> None:
        """An attempt is over, however it came about."""
        state = self.record.container(name)
        ending = Ending(code, reason, self.now(), started_at or state.running_since, message)
        ended = state.end(ending)
        self.put(name, ended)
        self.on_end(name)
        container = sync.find_container(self.pod, name)
        if container is None or not ended.backoff or self.record.stop_by is not None:
            return
        if sync.will_restart(self.pod, container, ended):
            text = f"Back-off restarting failed container {name} in pod {self.pod.metadata.name}"
            self.event("BackOff", text, warning=True, container=name)

    def end_all(self, code: int, reason: str, message: str) -> None:
        """Every container is gone with the sandbox; a new one has to be initialized, unless the pod is over."""
        for name, state in self.record.containers.items():
            if state.stage in (Stage.RUNNING, Stage.STARTING):
                self.end(name, code, reason, message)
        over = sync.find_phase(self.pod, self.record) in ("Succeeded", "Failed")
        init = {each.name for each in self.pod.spec.init_containers if not sync.is_sidecar(each)}
        for name, state in self.record.containers.items():
            self.put(name, state.lose_sandbox(runs_again=name in init and not over))
        self.set(replace(self.record, sandbox=SandboxStage.ABSENT))


class ContainerReport:
    """What the probes of one attempt say (`probes.ProbeReport`)."""

    def __init__(self, state: PodState, container: Container, key: str, fail: Callable[[str, timedelta], None]) -> None:
        """`fail(message, grace)` ends the container."""
        self._state = state
        self._container = container
        self._key = key
        self._fail = fail

    def _update(self, change: Callable[[ContainerRecord], ContainerRecord]) -> None:
        name = self._container.name
        if self._state.current_key(name) != self._key:
            return
        record = self._state.record.container(name)
        updated = change(record)
        if updated != record:
            self._state.put(name, updated)

    def started(self) -> None:
        """The startup probe passed, or there is none."""
        self._update(lambda record: replace(record, started=True))

    def ready(self, *, ready: bool) -> None:
        """Readiness changed."""
        self._update(lambda record: replace(record, ready=ready))

    def unhealthy(self, kind: str, message: str) -> None:
        """One probe failed."""
        text = f"{kind} probe failed: {message}"
        self._state.event("Unhealthy", text, warning=True, container=self._container.name)

    def failed(self, kind: str) -> None:
        """Startup or liveness failed as often as allowed."""
        probe = self._container.startup_probe if kind == "Startup" else self._container.liveness_probe
        grace = probe.termination_grace_period_seconds if probe is not None else None
        if grace is None:
            grace = self._state.pod.spec.termination_grace_period_seconds
        name = self._container.name
        self._fail(f"Container {name} failed {kind.lower()} probe, will be restarted", timedelta(seconds=grace))

    def hook_failed(self, reason: str, message: str) -> None:
        """The postStart hook failed: the container has to end."""
        self._state.event(reason, message, warning=True, container=self._container.name)
        grace = self._state.pod.spec.termination_grace_period_seconds
        self._fail(f"FailedPostStartHook in container {self._container.name}", timedelta(seconds=grace))
