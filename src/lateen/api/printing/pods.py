"""The row of a Pod: readiness, one word of status, restarts.

STATUS is worked out as Kubernetes does: the phase or its reason, then the first init container that is not
done (`Init:1/2`, `Init:CrashLoopBackOff`), then the containers from last to first, and deletion over all.
Native sidecars (init containers with `restartPolicy: Always`) count in READY; restarts of other init
containers count only while these still run.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from lateen.api.printing.layout import (
    NONE,
    Document,
    Layout,
    age_of,
    columns,
    containers_of,
    format_duration,
    format_labels,
    items,
    name_of,
    parse_time,
    section,
)

_FINISHED = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}


class PodSummary(msgspec.Struct, frozen=True):
    """What one line says of a pod; `restarted` is when a container last ended before a restart."""

    ready: int
    total: int
    status: str
    restarts: int
    restarted: datetime | None = None


class _Count:
    """Ready containers, restarts and the last of them, while the statuses are read."""

    def __init__(self) -> None:
        self.ready = 0
        self.restarts = 0
        self.last: datetime | None = None

    def add_restarts(self, status: Document) -> None:
        self.restarts += int(status.get("restartCount") or 0)
        ended = parse_time(section(status, "lastState", "terminated").get("finishedAt"))
        if ended is not None and (self.last is None or self.last < ended):
            self.last = ended


def summarize_pod(pod: Document) -> PodSummary:
    """Readiness, status word and restarts of a pod."""
    spec, status = section(pod, "spec"), section(pod, "status")
    sidecars = {one.get("name") for one in items(spec, "initContainers") if one.get("restartPolicy") == "Always"}
    word = str(status.get("reason") or status.get("phase") or "")
    if any(one.get("reason") == "SchedulingGated" for one in _conditions(status, "PodScheduled")):
        word = "SchedulingGated"
    before, sidecar_count = _Count(), _Count()
    initializing = _read_init(spec, status, sidecars, before, sidecar_count)
    count = before
    count.ready = sidecar_count.ready
    if initializing is not None:
        word = initializing
    if initializing is None or _has(status, "Initialized"):
        count = sidecar_count
        word = _read_containers(status, count, word)
    return PodSummary(
        count.ready, len(items(spec, "containers")) + len(sidecars), _deleted(pod, word), count.restarts, count.last
    )


def _conditions(status: Document, kind: str) -> list[Any]:
    return [one for one in items(status, "conditions") if one.get("type") == kind]


def _has(status: Document, kind: str) -> bool:
    return any(one.get("status") == "True" for one in _conditions(status, kind))


def _read_init(spec: Document, status: Document, sidecars: set[Any], every: _Count, sidecar: _Count) -> str | None:
    """The status word of the init container that holds the pod up, None when none does."""
    for place, one in enumerate(items(status, "initContainerStatuses")):
        every.add_restarts(one)
        is_sidecar = one.get("name") in sidecars
        if is_sidecar:
            sidecar.add_restarts(one)
        terminated = section(one, "state").get("terminated")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if is_sidecar and one.get("started"):
            sidecar.ready += bool(one.get("ready"))
            continue
        waiting = section(one, "state", "waiting").get("reason")
        if terminated is not None:
            return f"Init:{_ending(terminated)}"
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{place}/{len(items(spec, 'initContainers'))}"
    return None


def _ending(terminated: Document) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _read_containers(status: Document, count: _Count, word: str) -> str:
    running = False
    for one in reversed(items(status, "containerStatuses")):
        count.add_restarts(one)
        state = section(one, "state")
        waiting = section(state, "waiting").get("reason")
        if waiting:
            word = str(waiting)
        elif state.get("terminated") is not None:
            word = _ending(state["terminated"])
        elif one.get("ready") and state.get("running") is not None:
            running = True
            count.ready += 1
    if word == "Completed" and running:
        return "Running" if _has(status, "Ready") else "NotReady"
    return word


def _deleted(pod: Document, word: str) -> str:
    if not section(pod, "metadata").get("deletionTimestamp"):
        return word
    status = section(pod, "status")
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return word if status.get("phase") in _FINISHED else "Terminating"


def pod_cells(pod: Document, now: datetime) -> list[Any]:
    """The cells of a pod's row."""
    summary = summarize_pod(pod)
    restarts = str(summary.restarts)
    if summary.restarts and summary.restarted is not None:
        restarts += f" ({format_duration(now - summary.restarted)} ago)"
    spec, status = section(pod, "spec"), section(pod, "status")
    addresses = items(status, "podIPs")
    gates = [one.get("conditionType") for one in items(spec, "readinessGates")]
    open_gates = sum(_has(status, gate) for gate in gates)
    return [
        name_of(pod),
        f"{summary.ready}/{summary.total}",
        summary.status,
        restarts,
        age_of(pod, now),
        (addresses[0].get("ip") if addresses else status.get("podIP")) or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{open_gates}/{len(gates)}" if gates else NONE,
    ]


def pod_conditions(pod: Document) -> list[dict[str, str]]:
    """The conditions of a pod's row: one when the pod has finished, by which kubectl's clients hide it."""
    phase = section(pod, "status").get("phase")
    if phase not in _FINISHED:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _FINISHED[phase]}]


def _template_cells(template: Document, now: datetime) -> list[Any]:
    names, images = containers_of(section(template, "template", "spec"))
    return [name_of(template), names, images, format_labels(section(template, "template", "metadata", "labels"))]


LAYOUTS = {
    ("", "Pod"): Layout(
        columns(
            *("Name", "Ready", "Status", "Restarts", "Age"),
            wide=("IP", "Node", "Nominated Node", "Readiness Gates"),
        ),
        pod_cells,
    ),
    ("", "PodTemplate"): Layout(columns("Name", "Containers", "Images", "Pod Labels"), _template_cells),
}
