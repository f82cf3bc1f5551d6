"""What a pod's status tells of the node's earlier life: status -> the record to go on from. Pure.

The processes are gone with that life, so whatever ran has ended and is started again in a new sandbox; restarts are
counted on, so that logs of before stay the previous ones. What was over for good stays over. Init containers run
again before anything else: a new sandbox has neither their files nor their interception rules.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType

from lateen.api.pod import ContainerStateTerminated, ContainerStatus, Pod
from lateen.cluster.node.record import ContainerRecord, Ending, PodRecord, SandboxStage, Stage
from lateen.cluster.node.sync import is_sidecar

_LOST = 137


def restore_record(pod: Pod, address: str, now: datetime) -> PodRecord:
    """Return the record of a pod that is bound to this node."""
    status = pod.status
    statuses = {each.name: each for each in (*status.init_container_statuses, *status.container_statuses)}
    plain_init = {c.name for c in pod.spec.init_containers if not is_sidecar(c)}
    over = status.phase in ("Succeeded", "Failed")
    containers = {
        name: _restore(
            each, now, keep=over or pod.spec.restart_policy != "Always", init=name in plain_init and not over
        )
        for name, each in statuses.items()
    }
    failed = status.phase == "Failed" and status.reason != ""
    return PodRecord(
        sandbox=SandboxStage.REMOVED if over else SandboxStage.ABSENT,
        address=address,
        started_at=_parse(status.start_time),
        containers=MappingProxyType(containers),
        failure=(status.reason, status.message) if failed else None,
    )


def _restore(status: ContainerStatus, now: datetime, *, keep: bool, init: bool) -> ContainerRecord:
    ended = status.state.terminated
    attempted = bool(status.container_id)
    if not attempted:
        return ContainerRecord()
    last = _read(ended or status.last_state.terminated, now)
    if ended is not None and keep and not init:
        return ContainerRecord(
            stage=Stage.ENDED,
            attempted=True,
            of_earlier_sandbox=True,
            restarts=status.restart_count,
            ending=last,
            retry_at=now,
        )
    if status.state.running is not None:
        started = _parse(status.state.running.started_at)
        last = Ending(_LOST, "ContainerStatusUnknown", now, started, "The node ended before the container did")
    return ContainerRecord(attempted=True, of_earlier_sandbox=True, restarts=status.restart_count, last=last)


def _read(ended: ContainerStateTerminated | None, now: datetime) -> Ending | None:
    if ended is None:
        return None
    return Ending(
        ended.exit_code, ended.reason, _parse(ended.finished_at) or now, _parse(ended.started_at), ended.message
    )


def _parse(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
