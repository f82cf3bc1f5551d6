"""What the node has observed of a pod: one frozen record, replaced at every event.

Flow: events (a container started, ended, was probed) -> new `PodRecord` -> `sync.plan` and `status.build_status`.
Invariants: records are values; a container that ended keeps how it ended as `last` when it runs again; `restarts`
counts the attempts before the present one and names its log file.
Source: Kubernetes pod lifecycle (container states, back-off 10 s doubling to 5 min, forgotten after 10 min of life).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType

FIRST_BACKOFF = timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(minutes=5)
BACKOFF_FORGOTTEN_AFTER = timedelta(minutes=10)


class Stage(Enum):
    """Where a container stands."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class SandboxStage(Enum):
    """Where the pod's namespaces, volumes and address stand."""

    ABSENT = "absent"
    PREPARING = "preparing"
    READY = "ready"
    REMOVED = "removed"


@dataclass(frozen=True)
class Ending:
    """How one attempt ended."""

    exit_code: int
    reason: str
    finished_at: datetime
    started_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True)
class ContainerRecord:
    """One container; `reason` and `message` say what it waits for, `retry_at` when it is tried again.

    `of_earlier_sandbox` says that what is known of it happened in a sandbox that is gone.
    """

    stage: Stage = Stage.WAITING
    attempted: bool = False
    of_earlier_sandbox: bool = False
    restarts: int = 0
    reason: str = ""
    message: str = ""
    running_since: datetime | None = None
    ending: Ending | None = None
    last: Ending | None = None
    started: bool = False
    ready: bool = False
    stopping: bool = False
    retry_at: datetime | None = None
    backoff: timedelta | None = None

    def begin(self) -> ContainerRecord:
        """The record when an attempt to start begins."""
        return replace(self, stage=Stage.STARTING, retry_at=None)

    def run(self, now: datetime, *, started: bool, ready: bool) -> ContainerRecord:
        """The record when its program runs; `started` and `ready` where no probe has to say so."""
        return replace(
            self,
            stage=Stage.RUNNING,
            attempted=True,
            of_earlier_sandbox=False,
            restarts=self.restarts + (1 if self.attempted else 0),
            reason="",
            message="",
            running_since=now,
            last=self.ending or self.last,
            ending=None,
            started=started,
            ready=ready,
            stopping=False,
        )

    def end(self, ending: Ending) -> ContainerRecord:
        """The record when its program ended, with the time of the next attempt should there be one."""
        life = ending.finished_at - (ending.started_at or ending.finished_at)
        backoff = None if life >= BACKOFF_FORGOTTEN_AFTER else self.backoff
        following = timedelta(0) if backoff is None else min(max(backoff * 2, FIRST_BACKOFF), LONGEST_BACKOFF)
        return replace(
            self,
            stage=Stage.ENDED,
            attempted=True,
            of_earlier_sandbox=False,
            restarts=self.restarts + (1 if self.attempted and self.stage is Stage.STARTING else 0),
            running_since=None,
            last=self.ending if self.stage is Stage.STARTING and self.ending else self.last,
            ending=ending,
            started=False,
            ready=False,
            stopping=False,
            retry_at=ending.finished_at + following,
            backoff=following,
        )

    def lose_sandbox(self, *, runs_again: bool) -> ContainerRecord:
        """The record when the sandbox it ended in is gone; `runs_again` is for what prepares each new one."""
        if not runs_again or not self.attempted:
            return replace(self, of_earlier_sandbox=True)
        last = self.ending or self.last
        return replace(self, of_earlier_sandbox=True, stage=Stage.WAITING, last=last, ending=None, retry_at=None)

    def wait(self, reason: str, message: str, retry_at: datetime | None) -> ContainerRecord:
        """The record when it could not be started for a reason outside of it."""
        return replace(self, stage=Stage.WAITING, reason=reason, message=message, retry_at=retry_at)


@dataclass(frozen=True)
class PodRecord:
    """One pod; `stop_by` is set once it must end, `reason` and `message` say why it could not be prepared.

    `withdrawing`: it must end, but Services or their proxies may still send to it.
    """

    sandbox: SandboxStage = SandboxStage.ABSENT
    address: str = ""
    started_at: datetime | None = None
    containers: Mapping[str, ContainerRecord] = field(default_factory=lambda: MappingProxyType({}))
    retry_at: datetime | None = None
    message: str = ""
    stop_by: datetime | None = None
    withdrawing: bool = False
    failure: tuple[str, str] | None = None

    def container(self, name: str) -> ContainerRecord:
        """The record of a container; a fresh one before anything happened to it."""
        return self.containers.get(name) or ContainerRecord()

    def put(self, name: str, container: ContainerRecord) -> PodRecord:
        """The record with this container's replaced."""
        return replace(self, containers=MappingProxyType({**self.containers, name: container}))
