"""Jobs: a Job and its pods -> pods made until enough succeeded, its end, its removal `ttlSecondsAfterFinished` later.

A pod ends when its main containers do: native sidecars are ended by the node. Failed pods are replaced after 10 s,
20 s and so on; more than `backoffLimit` of them, or `activeDeadlineSeconds`, fail the Job. Source: the Kubernetes page
"Jobs" and its controller. Where we differ: pods carry no finalizer, so counts only remember what the status has said
once; Indexed completion runs as NonIndexed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lateen.api.apps import Job
from lateen.api.objects import JsonObject, is_terminating, name_of
from lateen.api.pod import Pod
from lateen.cluster.controllers.actions import Action, Create, Delete, LookAgain, Report, Update
from lateen.cluster.controllers.ownership import claim, find_candidates
from lateen.cluster.controllers.pod_states import (
    deletion_rank,
    format_time,
    is_active,
    parse_time,
    ready_since,
)
from lateen.cluster.controllers.replica_sets import build_pod
from lateen.cluster.controllers.state import JOB, POD, State

_FIRST_BACKOFF, _LONGEST_BACKOFF = timedelta(seconds=10), timedelta(minutes=10)
_ENDS = ("Complete", "Failed")


def reconcile_job(state: State, namespace: str, name: str, now: datetime) -> list[Action]:
    """What makes the Job true."""
    document = state.find(JOB, namespace, name)
    job = state.find_view(JOB, Job, namespace, name)
    if document is None or job is None or is_terminating(document):
        return []
    if any(condition.type in _ENDS and condition.status == "True" for condition in job.status.conditions):
        return _expire(document, job, now)
    claimed = claim(JOB, document, POD, find_candidates(state, POD, namespace, document))
    pods = list(state.views(POD, Pod, namespace, [name_of(found) for found in claimed.owned]))
    return [*claimed.actions, *_Run(document, job, pods, now).advance()]


def _expire(document: JsonObject, job: Job, now: datetime) -> list[Action]:
    seconds = job.spec.ttl_seconds_after_finished
    ends = [one.last_transition_time for one in job.status.conditions if one.type in _ENDS and one.status == "True"]
    ended = parse_time(ends[0])
    if seconds is None or ended is None:
        return []
    wait = ended + timedelta(seconds=seconds) - now
    if wait > timedelta(0):
        return [LookAgain(wait)]
    metadata = job.metadata
    return [Delete(JOB, metadata.namespace, metadata.name, metadata.uid, propagation="Background")]


@dataclass(frozen=True)
class _Run:
    document: JsonObject
    job: Job
    pods: Sequence[Pod]
    now: datetime

    @property
    def _active(self) -> list[Pod]:
        return [pod for pod in self.pods if is_active(pod)]

    def _count(self, phase: str, remembered: int) -> int:
        return max(remembered, sum(pod.status.phase == phase for pod in self.pods))

    def advance(self) -> list[Action]:
        """The next actions of a Job that has not ended."""
        succeeded = self._count("Succeeded", self.job.status.succeeded)
        failed = self._count("Failed", self.job.status.failed)
        if self.job.spec.suspend:
            return self._suspend(succeeded, failed)
        if failure := self._find_failure(failed):
            return self._end("Failed", "FailureTarget", *failure, succeeded, failed + len(self._active))
        if self._is_complete(succeeded):
            text = "Reached expected number of succeeded pods"
            return self._end("Complete", "SuccessCriteriaMet", "CompletionsReached", text, succeeded, failed)
        status = self._build_status(self._active, succeeded, failed)
        return [*self._resize(succeeded, failed), *self._write(status), *self._watch_deadline(status)]

    def _find_failure(self, failed: int) -> tuple[str, str] | None:
        spec, started = self.job.spec, parse_time(self.job.status.start_time)
        limit = spec.backoff_limit
        restarts = sum(
            status.restart_count
            for pod in self._active
            for status in (*pod.status.container_statuses, *pod.status.init_container_statuses)
        )
        restarted = spec.template.spec.restart_policy == "OnFailure" and restarts and restarts >= limit
        if failed > limit or restarted:
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        seconds = spec.active_deadline_seconds
        if seconds is None or started is None or started + timedelta(seconds=seconds) > self.now:
            return None
        return "DeadlineExceeded", "Job was active longer than specified deadline"

    def _is_complete(self, succeeded: int) -> bool:
        completions = self.job.spec.completions
        if completions is None:
            return succeeded > 0 and not self._active
        return succeeded >= completions

    def _resize(self, succeeded: int, failed: int) -> list[Action]:
        spec, active = self.job.spec, self._active
        wanted = spec.parallelism
        if spec.completions is not None:
            wanted = min(wanted, spec.completions - succeeded)
        elif succeeded:
            wanted = len(active)
        if len(active) > wanted:
            return self._delete(sorted(active, key=deletion_rank)[: len(active) - wanted])
        if len(active) == wanted:
            return []
        wait = self._find_backoff(failed)
        if wait > timedelta(0):
            return [LookAgain(wait)]
        report = Report(JOB, self.document, "SuccessfulCreate", "Created pod: {name}")
        return [Create(POD, build_pod(JOB, self.document), report)] * (wanted - len(active))

    def _find_backoff(self, failed: int) -> timedelta:
        ends = [moment for pod in self.pods if pod.status.phase == "Failed" and (moment := _ended_at(pod))]
        if not ends:
            return timedelta(0)
        doublings = min(max(failed, 1) - 1, 10)
        delay = min(_FIRST_BACKOFF * (1 << doublings), _LONGEST_BACKOFF)
        return max(ends) + delay - self.now

    def _delete(self, pods: Sequence[Pod]) -> list[Action]:
        return [Delete(POD, pod.metadata.namespace, pod.metadata.name, pod.metadata.uid) for pod in pods]

    def _suspend(self, succeeded: int, failed: int) -> list[Action]:
        status = self._build_status([], succeeded, failed)
        status.pop("startTime", None)
        status["conditions"] = self._condition(status, "Suspended", "True", "JobSuspended", "Job suspended")
        return [*self._delete(self._active), *self._write(status)]

    def _end(self, kind: str, before: str, reason: str, message: str, succeeded: int, failed: int) -> list[Action]:
        status = self._build_status([], succeeded, failed)
        for one in (before, kind):
            status["conditions"] = self._condition(status, one, "True", reason, message)
        if kind == "Complete":
            status["completionTime"] = format_time(self.now)
        told = Report(JOB, self.document, "Completed", "Job completed")
        if kind == "Failed":
            told = Report(JOB, self.document, reason, message, warning=True)
        return [*self._delete(self._active), *self._write(status), told]

    def _build_status(self, active: Sequence[Pod], succeeded: int, failed: int) -> JsonObject:
        status: JsonObject = dict(self.document.get("status") or {})
        counts = {
            "active": len(active),
            "succeeded": succeeded,
            "failed": failed,
        }
        for name, count in counts.items():
            status.pop(name, None)
            if count:
                status[name] = count
        status["ready"] = sum(ready_since(pod) is not None for pod in active)
        status["terminating"] = sum(pod.metadata.deletion_timestamp is not None for pod in self.pods)
        status.setdefault("startTime", format_time(self.now))
        if any(one.get("type") == "Suspended" for one in status.get("conditions") or ()):
            status["conditions"] = self._condition(status, "Suspended", "False", "JobResumed", "Job resumed")
        return status

    def _condition(self, status: JsonObject, kind: str, truth: str, reason: str, message: str) -> list[dict[str, Any]]:
        """The conditions with this one set; one that says so already stays as it is."""
        conditions = list(status.get("conditions") or ())
        if any((one.get("type"), one.get("status")) == (kind, truth) for one in conditions):
            return conditions
        moment = format_time(self.now)
        condition = {"type": kind, "status": truth, "lastProbeTime": moment, "lastTransitionTime": moment}
        others = [one for one in conditions if one.get("type") != kind]
        return [*others, {**condition, "reason": reason, "message": message}]

    def _write(self, status: JsonObject) -> list[Action]:
        if status == (self.document.get("status") or {}):
            return []
        return [Update(JOB, {**self.document, "status": status}, "status")]

    def _watch_deadline(self, status: JsonObject) -> list[Action]:
        seconds, started = self.job.spec.active_deadline_seconds, parse_time(status["startTime"])
        if seconds is None or started is None:
            return []
        return [LookAgain(max(started + timedelta(seconds=seconds) - self.now, timedelta(0)))]


def _ended_at(pod: Pod) -> datetime | None:
    ends = [
        parse_time(status.state.terminated.finished_at)
        for status in pod.status.container_statuses
        if status.state.terminated is not None
    ]
    return max(filter(None, ends), default=None)
