"""What Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs must be beyond their types.

(document, old document or None) -> FieldErrors; documents come with defaults applied. A selector must match
the template's labels and never changes. Source: the workload pages of the Kubernetes API reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lateen.api.json_patch import equal_json
from lateen.api.schema.errors import FieldError, forbidden, invalid, not_supported, required
from lateen.api.schema.metadata import validate_selector
from lateen.api.schema.pods import validate_template

Part = Mapping[str, Any]

_NOT_NEGATIVE = (
    "replicas",
    "minReadySeconds",
    "revisionHistoryLimit",
    "progressDeadlineSeconds",
    "parallelism",
    "completions",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "successfulJobsHistoryLimit",
    "failedJobsHistoryLimit",
    "startingDeadlineSeconds",
)
_STATEFUL_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def validate_workload(workload: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a Deployment, ReplicaSet, StatefulSet or DaemonSet."""
    kind, spec = str(workload.get("kind")), workload.get("spec") or {}
    yield from _validate_counts(spec, "spec")
    selector, template = spec.get("selector"), spec.get("template") or {}
    noun = {"StatefulSet": "statefulset", "DaemonSet": "daemonset"}.get(kind, "deployment")
    if selector is None:
        yield required("spec.selector")
    else:
        yield from validate_selector(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield invalid("spec.selector", selector, f"empty selector is invalid for {noun}")
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector and not selector_matches(selector, labels):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from validate_template(template, "spec.template")
    yield from _validate_restart(template, ("Always",))
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        owner = "ReplicaSet" if kind == "Deployment" else kind
        text = f"activeDeadlineSeconds in {owner} is not Supported"
        yield forbidden("spec.template.spec.activeDeadlineSeconds", text)
    if kind == "Deployment":
        yield from _validate_strategy(spec)
    if old is not None:
        yield from _validate_change(kind, spec, old.get("spec") or {})


def selector_matches(selector: Part, labels: Part) -> bool:
    """Whether a `matchLabels`/`matchExpressions` selector selects these labels."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for one in selector.get("matchExpressions") or ():
        value, values = labels.get(one.get("key")), one.get("values") or ()
        match one.get("operator"):
            case "In":
                holds = value in values
            case "NotIn":
                holds = value not in values
            case "Exists":
                holds = value is not None
            case "DoesNotExist":
                holds = value is None
            case _:
                holds = False
        if not holds:
            return False
    return True


def _validate_counts(spec: Part, path: str) -> Iterator[FieldError]:
    for member in _NOT_NEGATIVE:
        value = spec.get(member)
        if isinstance(value, int) and value < 0:
            yield invalid(f"{path}.{member}", value, "must be greater than or equal to 0")


def _validate_restart(template: Part, allowed: tuple[str, ...], path: str = "spec.template") -> Iterator[FieldError]:
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy not in allowed:
        yield not_supported(f"{path}.spec.restartPolicy", policy, allowed)


def _validate_strategy(spec: Part) -> Iterator[FieldError]:
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                text = "may not be specified when strategy `type` is 'Recreate'"
                yield forbidden("spec.strategy.rollingUpdate", text)
        case "RollingUpdate":
            amounts = {}
            for member in ("maxUnavailable", "maxSurge"):
                value = (rolling or {}).get(member, 0)
                amounts[member] = _amount(value)
                if amounts[member] is None:
                    text = "must be an integer or percentage (e.g '5%%')"
                    yield invalid(f"spec.strategy.rollingUpdate.{member}", value, text)
            if amounts == {"maxUnavailable": 0, "maxSurge": 0}:
                path = "spec.strategy.rollingUpdate.maxUnavailable"
                yield invalid(path, (rolling or {}).get("maxUnavailable", 0), "may not be 0 when `maxSurge` is 0")
        case _:
            yield not_supported("spec.strategy", strategy, ("Recreate", "RollingUpdate"))
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _amount(value: Any) -> int | None:
    """A number or percentage as a number, None when it is neither."""
    if isinstance(value, int):
        return value if value >= 0 else None
    text = str(value)
    return int(text[:-1]) if text.endswith("%") and text[:-1].isdigit() else None


def _validate_change(kind: str, spec: Part, before: Part) -> Iterator[FieldError]:
    if kind == "StatefulSet":
        changed = [
            member
            for member in spec.keys() | before.keys()
            if member not in _STATEFUL_MUTABLE and not equal_json(spec.get(member), before.get(member))
        ]
        if changed:
            text = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden"
            )
            yield forbidden("spec", text)
    elif not equal_json(spec.get("selector"), before.get("selector")):
        yield invalid("spec.selector", spec.get("selector"), "field is immutable")


def validate_job(job: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a Job."""
    spec = job.get("spec") or {}
    yield from _validate_job_spec(spec, "spec")
    if old is None:
        return
    before = old.get("spec") or {}
    for member in ("completions", "selector", "template", "completionMode"):
        if not equal_json(spec.get(member), before.get(member)):
            yield invalid(f"spec.{member}", spec.get(member), "field is immutable")


def _validate_job_spec(spec: Part, path: str) -> Iterator[FieldError]:
    yield from _validate_counts(spec, path)
    template = spec.get("template") or {}
    yield from validate_template(template, f"{path}.template")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy == "Always":
        detail = required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
        yield detail
    else:
        yield from _validate_restart(template, ("OnFailure", "Never"), f"{path}.template")


def validate_cron_job(job: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a CronJob."""
    spec = job.get("spec") or {}
    yield from _validate_counts(spec, "spec")
    if not spec.get("schedule"):
        yield required("spec.schedule")
    yield from _validate_job_spec((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec")
    if len((job.get("metadata") or {}).get("name") or "") > 52 and old is None:
        name = (job.get("metadata") or {}).get("name")
        yield invalid("metadata.name", name, "must be no more than 52 characters")
