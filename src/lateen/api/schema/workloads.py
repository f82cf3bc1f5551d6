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
from lateen.api.schema.names import check_label, check_percent
from lateen.api.schema.pods import validate_template

Part = Mapping[str, Any]

_NOUNS = {"StatefulSet": "statefulset", "DaemonSet": "daemonset"}
_SELECTOR = ("matchLabels", "matchExpressions")
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
    template = spec.get("template") or {}
    unreadable = list(_validate_selector(kind, spec.get("selector")))
    yield from unreadable
    readable = not any(error.path.startswith("spec.selector.") for error in unreadable)
    if not readable and kind != "DaemonSet":
        detail = "" if kind == "StatefulSet" else "invalid label selector"
        yield invalid("spec.selector", _go_selector(spec.get("selector")), detail)
    if readable:
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not selector_matches(spec.get("selector"), labels):
            shown = dict(sorted(labels.items())) if "labels" in (template.get("metadata") or {}) else None
            text = "`selector` does not match template `labels`"
            yield invalid("spec.template.metadata.labels", shown, text)
    if readable or kind == "DaemonSet":
        yield from validate_template(_without_names(template) if kind == "StatefulSet" else template, "spec.template")
    yield from _validate_restart(template, ("Always",))
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        owner = "ReplicaSet" if kind == "Deployment" else kind
        text = f"activeDeadlineSeconds in {owner} is not Supported"
        yield forbidden("spec.template.spec.activeDeadlineSeconds", text)
    if kind == "Deployment":
        yield from _validate_strategy(spec)
    elif kind == "StatefulSet" and old is None and (name := spec.get("serviceName")):
        yield from (invalid("spec.serviceName", name, text) for text in check_label(name))
    if old is not None:
        yield from _validate_change(kind, spec, old.get("spec") or {})


def _validate_selector(kind: str, selector: Part | None) -> Iterator[FieldError]:
    if selector is None:
        if kind != "DaemonSet":
            yield required("spec.selector")
        return
    yield from validate_selector(selector, "spec.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        noun = _NOUNS.get(kind, "deployment")
        yield invalid("spec.selector", _go_selector(selector), f"empty selector is invalid for {noun}")


def _go_selector(selector: Part | None) -> Part:
    """A selector in the order and without the empty members that Kubernetes prints."""
    return {member: (selector or {})[member] for member in _SELECTOR if (selector or {}).get(member)}


def _without_names(template: Part) -> Part:
    """A template without what a StatefulSet overwrites in each pod."""
    spec = template.get("spec") or {}
    return {**template, "spec": {key: value for key, value in spec.items() if key not in ("hostname", "subdomain")}}


def selector_matches(selector: Part | None, labels: Part) -> bool:
    """Whether a `matchLabels`/`matchExpressions` selector selects these labels; none selects nothing."""
    if selector is None:
        return False
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
            yield from _validate_rolling(rolling or {}, "spec.strategy.rollingUpdate")
        case other:
            names = {"maxUnavailable": "MaxUnavailable", "maxSurge": "MaxSurge"}
            shown = None if rolling is None else {name: rolling.get(key, 0) for key, name in names.items()}
            printed = {"Type": other, "RollingUpdate": shown}
            yield not_supported("spec.strategy", printed, ("Recreate", "RollingUpdate"))
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _validate_rolling(rolling: Part, path: str) -> Iterator[FieldError]:
    amounts = []
    for member in ("maxUnavailable", "maxSurge"):
        value = rolling.get(member, 0)
        if isinstance(value, int):
            amounts.append(value)
            if value < 0:
                yield invalid(f"{path}.{member}", value, "must be greater than or equal to 0")
        else:
            wrong = check_percent(value)
            yield from (invalid(f"{path}.{member}", value, text) for text in wrong)
            amounts.append(0 if wrong else int(value[:-1]))
    if amounts == [0, 0]:
        shown = rolling.get("maxUnavailable", 0)
        yield invalid(f"{path}.maxUnavailable", shown, "may not be 0 when `maxSurge` is 0")
    value = rolling.get("maxUnavailable", 0)
    if isinstance(value, str) and amounts[0] > 100:
        yield invalid(f"{path}.maxUnavailable", value, "must not be greater than 100%")


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
