"""What to do next for one pod: (specification, record, time) -> actions. Pure.

Flow: `plan(pod, record, now)` -> `Plan(actions, wake_at)`; the runner carries the actions out, records what happens
and asks again.

| order of starting                                   | order of ending                                       |
| --------------------------------------------------- | ----------------------------------------------------- |
| init containers one after the other, each to its    | the app's containers together, then proxies among     |
| end; one with restartPolicy Always (a sidecar) until | them, then sidecars one by one in reverse order; the  |
| it has started; then all containers together        | sandbox; and the object, if it is being deleted       |

Nothing ends while Services still send to the pod (withdrawal.py).
Source: Kubernetes pod lifecycle, init containers, sidecar containers (KEP-753). We differ: a proxy that is an ordinary
container ends after the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from lateen.api.container import Container
from lateen.api.pod import Pod
from lateen.cluster.images import is_proxy
from lateen.cluster.node.record import ContainerRecord, PodRecord, SandboxStage, Stage

FORCED_AFTER = timedelta(seconds=10)
"""How long after its grace period a pod's sandbox is removed even if something in it does not end."""


@dataclass(frozen=True)
class Prepare:
    """Make the sandbox, the volumes and the address."""


@dataclass(frozen=True)
class Start:
    """Start a container."""

    name: str


@dataclass(frozen=True)
class Stop:
    """End a container, by force at `deadline`."""

    name: str
    deadline: datetime


@dataclass(frozen=True)
class TearDown:
    """Remove the sandbox."""


@dataclass(frozen=True)
class Forget:
    """Delete the object: everything of the pod is gone."""


Action = Prepare | Start | Stop | TearDown | Forget


@dataclass(frozen=True)
class Plan:
    """Actions to take now, and when to ask again if nothing happens before."""

    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None


def is_sidecar(container: Container) -> bool:
    """Whether an init container goes on running beside the app's."""
    return container.restart_policy == "Always"


def iterate_containers(pod: Pod) -> chain[Container]:
    """Init containers, then containers."""
    return chain(pod.spec.init_containers, pod.spec.containers)


def find_container(pod: Pod, name: str) -> Container | None:
    """Return the init container or container of that name."""
    return next((container for container in iterate_containers(pod) if container.name == name), None)


def is_initialized(pod: Pod, record: PodRecord) -> bool:
    """Whether every init container has ended well, and every sidecar has started."""
    return all(_is_past(container, record) for container in pod.spec.init_containers)


def _is_past(container: Container, record: PodRecord) -> bool:
    state = record.container(container.name)
    if is_sidecar(container):
        return state.stage is Stage.RUNNING and state.started
    return state.stage is Stage.ENDED and state.ending is not None and state.ending.exit_code == 0


def find_phase(pod: Pod, record: PodRecord) -> str:
    """Return the phase: Pending, Running, Succeeded or Failed."""
    if record.failure is not None:
        return "Failed"
    if pod.spec.restart_policy == "Never" and any(
        _has_failed(record.container(container.name))
        for container in pod.spec.init_containers
        if not is_sidecar(container)
    ):
        return "Failed"
    states = [record.container(container.name) for container in pod.spec.containers]
    if states and all(state.stage is Stage.ENDED and not _restarts(pod, state) for state in states):
        failed = any(state.ending is not None and state.ending.exit_code for state in states)
        return "Failed" if failed else "Succeeded"
    if states and all(state.attempted for state in states):
        return "Running"
    return "Pending"


def _has_failed(state: ContainerRecord) -> bool:
    return state.stage is Stage.ENDED and state.ending is not None and state.ending.exit_code != 0


def will_restart(pod: Pod, container: Container, state: ContainerRecord) -> bool:
    """Whether a container that ended is to run again."""
    if is_sidecar(container):
        return True
    if container in pod.spec.init_containers:
        return pod.spec.restart_policy != "Never" and _has_failed(state)
    return _restarts(pod, state)


def _restarts(pod: Pod, state: ContainerRecord) -> bool:
    policy = pod.spec.restart_policy
    return policy == "Always" or (policy == "OnFailure" and _has_failed(state))


def plan(pod: Pod, record: PodRecord, now: datetime) -> Plan:
    """Return what to do for the pod now."""
    if record.withdrawing:
        return Plan()
    if record.stop_by is not None:
        return _plan_end(pod, record, now, record.stop_by, delete=True)
    deadline = _active_deadline(pod, record)
    if find_phase(pod, record) in ("Succeeded", "Failed"):
        grace = timedelta(seconds=pod.spec.termination_grace_period_seconds)
        return _plan_end(pod, record, now, now + grace, delete=False)
    if record.sandbox is SandboxStage.ABSENT:
        if record.retry_at is not None and now < record.retry_at:
            return Plan(wake_at=record.retry_at)
        return Plan((Prepare(),))
    if record.sandbox is not SandboxStage.READY:
        return Plan()
    return _plan_starts(pod, record, now, deadline)


def _active_deadline(pod: Pod, record: PodRecord) -> datetime | None:
    if pod.spec.active_deadline_seconds is None or record.started_at is None:
        return None
    return record.started_at + timedelta(seconds=pod.spec.active_deadline_seconds)


def is_past_deadline(pod: Pod, record: PodRecord, now: datetime) -> bool:
    """Whether the pod ran longer than its activeDeadlineSeconds."""
    deadline = _active_deadline(pod, record)
    return deadline is not None and now >= deadline


def _plan_starts(pod: Pod, record: PodRecord, now: datetime, deadline: datetime | None) -> Plan:
    actions: list[Action] = []
    wakes: list[datetime] = [deadline] if deadline is not None else []

    def consider(container: Container) -> None:
        state = record.container(container.name)
        if state.stage in (Stage.STARTING, Stage.RUNNING):
            return
        if state.stage is Stage.ENDED and not will_restart(pod, container, state):
            return
        if state.retry_at is not None and now < state.retry_at:
            wakes.append(state.retry_at)
        else:
            actions.append(Start(container.name))

    initialized = _have_run(pod, record)
    for container in pod.spec.init_containers:
        if is_sidecar(container) or (not initialized and not _is_past(container, record)):
            consider(container)
        if not initialized and not _is_past(container, record):
            break
    else:
        for container in pod.spec.containers:
            consider(container)
    return Plan(tuple(actions), min(wakes, default=None))


def _have_run(pod: Pod, record: PodRecord) -> bool:
    """Whether initialization is over for this sandbox: it is not repeated when a sidecar ends later."""
    states = (record.container(container.name) for container in pod.spec.containers)
    return any(state.attempted and not state.of_earlier_sandbox for state in states)


def _plan_end(pod: Pod, record: PodRecord, now: datetime, deadline: datetime, *, delete: bool) -> Plan:
    if record.sandbox is SandboxStage.PREPARING:
        return Plan()
    if record.sandbox is not SandboxStage.READY:
        return Plan((Forget(),) if delete else ())
    # Whatever goes wrong on the way, a pod does not stay much longer than it was given.
    if delete and now >= deadline + FORCED_AFTER:
        return Plan((TearDown(),))
    for group in _end_groups(pod):
        states = [(name, record.container(name)) for name in group]
        alive = [(name, state) for name, state in states if state.stage in (Stage.STARTING, Stage.RUNNING)]
        if alive:
            stops = tuple(Stop(name, deadline) for name, state in alive if not state.stopping)
            return Plan(stops, deadline + FORCED_AFTER if delete else None)
    return Plan((TearDown(),))


def _end_groups(pod: Pod) -> list[list[str]]:
    plain = [container.name for container in pod.spec.init_containers if not is_sidecar(container)]
    apps = [container.name for container in pod.spec.containers if not is_proxy(container.image)]
    proxies = [container.name for container in pod.spec.containers if is_proxy(container.image)]
    sidecars = [[container.name] for container in reversed(pod.spec.init_containers) if is_sidecar(container)]
    return [plain + apps, proxies, *sidecars]
