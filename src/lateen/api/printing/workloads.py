"""Rows of what makes pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob, and what scales
and guards them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lateen.api.printing.layout import (
    NONE,
    UNKNOWN,
    UNSET,
    Document,
    Layout,
    age_of,
    columns,
    containers_of,
    format_duration,
    format_labels,
    format_selector,
    items,
    name_of,
    parse_time,
    section,
    since,
)

_POD_COLUMNS = ("Containers", "Images", "Selector")


def _number(document: Document, key: str) -> int:
    return int(document.get(key) or 0)


def _pods(workload: Document) -> tuple[str, str]:
    return containers_of(section(workload, "spec", "template", "spec"))


def _selector(workload: Document) -> str:
    return format_selector(section(workload, "spec", "selector"))


def _deployment(workload: Document, now: datetime) -> list[Any]:
    spec, status = section(workload, "spec"), section(workload, "status")
    return [
        name_of(workload),
        f"{_number(status, 'readyReplicas')}/{_number(spec, 'replicas')}",
        _number(status, "updatedReplicas"),
        _number(status, "availableReplicas"),
        age_of(workload, now),
        *_pods(workload),
        format_selector(section(spec, "selector"), empty=""),
    ]


def _replica_set(workload: Document, now: datetime) -> list[Any]:
    spec, status = section(workload, "spec"), section(workload, "status")
    old_style = workload.get("kind") == "ReplicationController"
    return [
        name_of(workload),
        _number(spec, "replicas"),
        _number(status, "replicas"),
        _number(status, "readyReplicas"),
        age_of(workload, now),
        *_pods(workload),
        format_labels(section(spec, "selector")) if old_style else _selector(workload),
    ]


def _stateful_set(workload: Document, now: datetime) -> list[Any]:
    ready = _number(section(workload, "status"), "readyReplicas")
    wanted = _number(section(workload, "spec"), "replicas")
    return [name_of(workload), f"{ready}/{wanted}", age_of(workload, now), *_pods(workload)]


def _daemon_set(workload: Document, now: datetime) -> list[Any]:
    status = section(workload, "status")
    return [
        name_of(workload),
        _number(status, "desiredNumberScheduled"),
        _number(status, "currentNumberScheduled"),
        _number(status, "numberReady"),
        _number(status, "updatedNumberScheduled"),
        _number(status, "numberAvailable"),
        format_labels(section(workload, "spec", "template", "spec", "nodeSelector")),
        age_of(workload, now),
        *_pods(workload),
        _selector(workload),
    ]


_DELETED = "metadata.deletionTimestamp"

#: Condition -> status word of a job, first match wins; deletion stands between failure and suspension.
_JOB_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    (_DELETED, "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def _job_state(job: Document) -> str:
    true = {one.get("type") for one in items(job, "status", "conditions") if one.get("status") == "True"}
    if section(job, "metadata").get("deletionTimestamp"):
        true.add(_DELETED)
    return next((word for condition, word in _JOB_STATES if condition in true), "Running")


def _job(job: Document, now: datetime) -> list[Any]:
    spec, status = section(job, "spec"), section(job, "status")
    succeeded, wanted, parallel = _number(status, "succeeded"), spec.get("completions"), _number(spec, "parallelism")
    completions = f"{succeeded}/{wanted if wanted is not None else 1}"
    if wanted is None and parallel > 1:
        completions += f" of {parallel}"
    started, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    duration = "" if started is None else format_duration((ended or now) - started)
    return [
        name_of(job),
        _job_state(job),
        completions,
        duration,
        age_of(job, now),
        *_pods(job),
        _selector(job),
    ]


def _cron_job(job: Document, now: datetime) -> list[Any]:
    spec, status = section(job, "spec"), section(job, "status")
    last = status.get("lastScheduleTime")
    template = section(spec, "jobTemplate", "spec")
    suspended = spec.get("suspend")
    return [
        name_of(job),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        UNSET if suspended is None else str(bool(suspended)),
        len(items(status, "active")),
        NONE if last is None else since(last, now),
        age_of(job, now),
        *containers_of(section(template, "template", "spec")),
        format_selector(section(template, "selector")),
    ]


def _disruption_budget(budget: Document, now: datetime) -> list[Any]:
    spec = section(budget, "spec")
    allowed = _number(section(budget, "status"), "disruptionsAllowed")
    limits = [str(spec.get(key, "N/A")) for key in ("minAvailable", "maxUnavailable")]
    return [name_of(budget), *limits, allowed, age_of(budget, now)]


def _metric(spec: Document, status: Document) -> str:
    kind = str(spec.get("type", ""))
    member = kind[:1].lower() + kind[1:]
    target, current = section(spec, member, "target"), section(status, member, "current")
    name = section(spec, member).get("name")
    label = f"{name}: " if kind in {"Resource", "ContainerResource"} else ""
    if "averageValue" in target:
        suffix = " (avg)" if kind in {"External", "Object"} else ""
        return f"{label}{current.get('averageValue', UNKNOWN)}/{target['averageValue']}{suffix}"
    if label:
        wanted, found = target.get("averageUtilization"), current.get("averageUtilization")
        return f"{label}{_percent(found, UNKNOWN)}/{_percent(wanted, '<auto>')}"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', 0)}"


def _percent(value: Any, otherwise: str) -> str:
    return otherwise if value is None else f"{value}%"


def _autoscaler(scaler: Document, now: datetime) -> list[Any]:
    spec, status = section(scaler, "spec"), section(scaler, "status")
    statuses = items(status, "currentMetrics")
    metrics = [
        _metric(one, statuses[place] if place < len(statuses) else {})
        for place, one in enumerate(items(spec, "metrics"))
    ]
    text = ", ".join(metrics[:2]) or NONE
    if len(metrics) > 2:
        text += f" + {len(metrics) - 2} more..."
    target = section(spec, "scaleTargetRef")
    least = spec.get("minReplicas")
    return [
        name_of(scaler),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        text,
        UNSET if least is None else str(least),
        _number(spec, "maxReplicas"),
        _number(status, "currentReplicas"),
        age_of(scaler, now),
    ]


def _revision(revision: Document, now: datetime) -> list[Any]:
    owners = [one for one in items(revision, "metadata", "ownerReferences") if one.get("controller")]
    controller = NONE
    if owners:
        group = owners[0].get("apiVersion", "").rpartition("/")[0]
        kind = owners[0].get("kind", "").lower()
        controller = f"{kind}.{group}/{owners[0].get('name')}" if group else f"{kind}/{owners[0].get('name')}"
    return [name_of(revision), controller, revision.get("revision", 0), age_of(revision, now)]


_REPLICA_COLUMNS = columns("Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", wide=_POD_COLUMNS)

LAYOUTS = {
    ("apps", "Deployment"): Layout(
        columns("Name", "Ready", "Up-to-date", "Available", "Age", wide=_POD_COLUMNS), _deployment
    ),
    ("apps", "ReplicaSet"): Layout(_REPLICA_COLUMNS, _replica_set),
    ("", "ReplicationController"): Layout(_REPLICA_COLUMNS, _replica_set),
    ("apps", "StatefulSet"): Layout(columns("Name", "Ready", "Age", wide=_POD_COLUMNS[:2]), _stateful_set),
    ("apps", "DaemonSet"): Layout(
        columns(
            *("Name", "Desired:integer", "Current:integer", "Ready:integer", "Up-to-date:integer"),
            *("Available:integer", "Node Selector", "Age"),
            wide=_POD_COLUMNS,
        ),
        _daemon_set,
    ),
    ("apps", "ControllerRevision"): Layout(columns("Name", "Controller", "Revision", "Age"), _revision),
    ("batch", "Job"): Layout(columns("Name", "Status", "Completions", "Duration", "Age", wide=_POD_COLUMNS), _job),
    ("batch", "CronJob"): Layout(
        columns(
            *("Name", "Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule", "Age"),
            wide=_POD_COLUMNS,
        ),
        _cron_job,
    ),
    ("policy", "PodDisruptionBudget"): Layout(
        columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"),
        _disruption_budget,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): Layout(
        columns("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"), _autoscaler
    ),
}
