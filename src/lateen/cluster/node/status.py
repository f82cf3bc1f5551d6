"""A pod's status as the API shows it: (pod, record) -> JSON document. Pure.

Flow: `build_status(pod, record, now, previous)` -> `status`; conditions keep their `lastTransitionTime` from `previous`
while they do not change.
Source: Kubernetes API reference v1.34 (PodStatus, ContainerStatus), kubelet's reasons: ContainerCreating,
PodInitializing, CrashLoopBackOff, ErrImagePull, ImagePullBackOff, Completed, Error, ContainersNotReady.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lateen.api.container import Container
from lateen.api.objects import JsonObject
from lateen.api.pod import Pod
from lateen.cluster.node.record import ContainerRecord, Ending, PodRecord, SandboxStage, Stage
from lateen.cluster.node.sync import find_phase, is_initialized, is_sidecar, will_restart

HOST_ADDRESS = "10.244.0.1"
"""Where pods reach the node: what the downward API gives them, and the Node's InternalIP."""
PUBLIC_ADDRESS = "127.0.0.1"
"""Where the node's ports are for who reads the API: status.hostIP, as Istio's INGRESS_HOST recipe takes it."""


def format_time(moment: datetime) -> str:
    """Return RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_status(pod: Pod, record: PodRecord, now: datetime, previous: JsonObject) -> JsonObject:
    """Return the whole status; `previous` is what the API has, for what does not change."""
    phase = find_phase(pod, record)
    initialized = is_initialized(pod, record)
    init = [
        _container_status(pod, container, record, waiting="PodInitializing") for container in pod.spec.init_containers
    ]
    waiting = "ContainerCreating" if initialized else "PodInitializing"
    if record.sandbox is not SandboxStage.READY:
        waiting = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
    main = [_container_status(pod, container, record, waiting=waiting) for container in pod.spec.containers]
    status: JsonObject = {
        "phase": phase,
        "conditions": _build_conditions(pod, record, phase, now, previous),
        "hostIP": PUBLIC_ADDRESS,
        "hostIPs": [{"ip": PUBLIC_ADDRESS}],
        "startTime": format_time(record.started_at or now),
        "containerStatuses": main,
        "reason": record.failure[0] if record.failure else None,
        "message": record.failure[1] if record.failure else record.message or None,
    }
    if init:
        status["initContainerStatuses"] = init
    if record.address:
        status["podIP"] = record.address
        status["podIPs"] = [{"ip": record.address}]
    if qos_class := previous.get("qosClass"):
        status["qosClass"] = qos_class
    return status


OWN_CONDITIONS = frozenset({"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"})


def take_conditions(status: JsonObject, stored: JsonObject) -> JsonObject:
    """Return our status with the conditions that others wrote (readiness gates) as the API server has them."""
    own = [each for each in status.get("conditions") or () if each["type"] in OWN_CONDITIONS]
    others = [each for each in stored.get("conditions") or () if each["type"] not in OWN_CONDITIONS]
    return {**status, "conditions": own + others}


def _build_conditions(pod: Pod, record: PodRecord, phase: str, now: datetime, previous: JsonObject) -> list[JsonObject]:
    unready = [
        container.name
        for container in (*filter(is_sidecar, pod.spec.init_containers), *pod.spec.containers)
        if not record.container(container.name).ready
    ]
    pending = [container.name for container in pod.spec.init_containers if not _has_done_its_part(container, record)]
    ended = phase in ("Succeeded", "Failed")
    completed = "PodCompleted" if phase == "Succeeded" else "PodFailed" if ended else ""
    ready = _judge(unready, completed or "ContainersNotReady", "containers with unready status")
    gates = [gate.condition_type for gate in pod.spec.readiness_gates]
    known = {condition["type"]: condition for condition in previous.get("conditions") or ()}
    unmet = [gate for gate in gates if known.get(gate, {}).get("status") != "True"]
    pod_ready = ready if unready or not unmet else _judge(unmet, "ReadinessGatesNotReady", "unmet readiness gates")
    initialized = _judge(pending, "ContainersNotInitialized", "containers with incomplete status")
    wanted: list[JsonObject] = [
        {"type": "PodReadyToStartContainers", "status": _yes(record.sandbox is SandboxStage.READY)},
        {"type": "Initialized", **initialized},
        {"type": "Ready", **pod_ready},
        {"type": "ContainersReady", **ready},
        {"type": "PodScheduled", "status": "True"},
    ]
    own = {condition["type"] for condition in wanted}
    kept = [condition for name, condition in known.items() if name not in own]
    return [_stamp(condition, known, now) for condition in wanted] + kept


def _has_done_its_part(container: Container, record: PodRecord) -> bool:
    state = record.container(container.name)
    if is_sidecar(container):
        return state.started
    return state.ending is not None and state.ending.exit_code == 0


def _yes(value: bool) -> str:
    return "True" if value else "False"


def _judge(names: Sequence[str], reason: str, text: str) -> JsonObject:
    if not names:
        return {"status": "True"}
    return {"status": "False", "reason": reason, "message": f"{text}: [{' '.join(names)}]"}


def _stamp(condition: JsonObject, known: dict[str, Any], now: datetime) -> JsonObject:
    before = known.get(condition["type"], {})
    unchanged = before.get("status") == condition["status"] and before.get("lastTransitionTime")
    since = before["lastTransitionTime"] if unchanged else format_time(now)
    return {**condition, "lastProbeTime": None, "lastTransitionTime": since}


def _container_status(pod: Pod, container: Container, record: PodRecord, *, waiting: str) -> JsonObject:
    state = record.container(container.name)
    identity = f"lateen://{pod.metadata.uid}/{container.name}/{state.restarts}"
    ended_well = state.stage is Stage.ENDED and state.ending is not None and state.ending.exit_code == 0
    init = container in pod.spec.init_containers and not is_sidecar(container)
    # An ending that is about to be followed by another attempt is the last state already.
    over = state.stage is Stage.ENDED and not (state.backoff and will_restart(pod, container, state))
    last = state.last if over or state.ending is None else state.ending
    return {
        "name": container.name,
        "image": container.image,
        "imageID": container.image if state.attempted else "",
        "containerID": identity if state.attempted else "",
        "restartCount": state.restarts,
        "ready": ended_well if init else state.ready,
        "started": state.started,
        "state": _build_state(pod, container, state, waiting, over=over),
        "lastState": {"terminated": _build_ending(last)} if last else {},
    }


def _build_state(pod: Pod, container: Container, state: ContainerRecord, waiting: str, *, over: bool) -> JsonObject:
    if state.stage is Stage.RUNNING and state.running_since is not None:
        return {"running": {"startedAt": format_time(state.running_since)}}
    if over and state.ending is not None:
        return {"terminated": _build_ending(state.ending)}
    if state.stage is Stage.ENDED and state.backoff is not None:
        whose = f"container={container.name} pod={pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
        message = f"back-off {format_backoff(state.backoff)} restarting failed {whose}"
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    if state.reason:
        return {"waiting": _named(state.reason, state.message)}
    return {"waiting": _named(waiting, "")}


def format_backoff(backoff: timedelta) -> str:
    """Return a delay as Go prints it: `10s`, `2m40s`."""
    minutes, seconds = divmod(int(backoff.total_seconds()), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _named(reason: str, message: str) -> JsonObject:
    return {"reason": reason, **({"message": message} if message else {})}


def _build_ending(ending: Ending) -> JsonObject:
    shown: JsonObject = {"exitCode": ending.exit_code, "reason": ending.reason}
    if ending.message:
        shown["message"] = ending.message
    shown["startedAt"] = format_time(ending.started_at or ending.finished_at)
    shown["finishedAt"] = format_time(ending.finished_at)
    return shown
