"""What a Pod, and a pod template, must be beyond its types: (spec, path) -> FieldErrors.

Documents come here with defaults applied. Only the image, the deadline, the grace period of deletion and
tolerations of a Pod may change once it exists. Source: the Pod page of the Kubernetes API reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lateen.api.json_patch import equal_json
from lateen.api.schema import names
from lateen.api.schema.containers import validate_container, validate_life
from lateen.api.schema.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from lateen.api.schema.metadata import validate_annotations, validate_labels

Spec = Mapping[str, Any]

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_INIT_ONLY = "may not be set for init containers without restartPolicy=Always"
_LIFE = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_MUTABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod_spec(spec: Spec, path: str) -> Iterator[FieldError]:
    """The mistakes in a pod spec."""
    volumes, errors = _validate_volumes(spec.get("volumes") or [], f"{path}.volumes")
    yield from errors
    yield from _validate_containers(spec, path, volumes)
    yield from _one_of(spec, "restartPolicy", _RESTART_POLICIES, path)
    yield from _one_of(spec, "dnsPolicy", _DNS_POLICIES, path)
    yield from validate_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    for member, check in (
        ("serviceAccountName", names.check_subdomain),
        ("nodeName", names.check_subdomain),
        ("hostname", names.check_label),
        ("subdomain", names.check_label),
        ("priorityClassName", names.check_subdomain),
        ("runtimeClassName", names.check_subdomain),
    ):
        if value := spec.get(member):
            yield from (invalid(f"{path}.{member}", value, text) for text in check(value))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        yield from (
            invalid(f"{path}.activeDeadlineSeconds", deadline, text)
            for text in names.check_range(deadline, 1, 2**31 - 1)
        )


def validate_template(template: Spec, path: str) -> Iterator[FieldError]:
    """The mistakes in a pod template."""
    metadata = template.get("metadata") or {}
    yield from validate_labels(metadata.get("labels") or {}, f"{path}.labels")
    yield from validate_annotations(metadata.get("annotations") or {}, f"{path}.annotations")
    yield from validate_pod_spec(template.get("spec") or {}, f"{path}.spec")
    if (template.get("spec") or {}).get("ephemeralContainers"):
        yield forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def _one_of(spec: Spec, member: str, allowed: tuple[str, ...], path: str) -> Iterator[FieldError]:
    value = spec.get(member)
    if not value:
        yield required(f"{path}.{member}")
    elif value not in allowed:
        yield not_supported(f"{path}.{member}", value, allowed)


def _validate_volumes(volumes: list[Any], path: str) -> tuple[set[str], list[FieldError]]:
    """The names of the sound volumes, and the mistakes in the others."""
    known: set[str] = set()
    errors: list[FieldError] = []
    for place, volume in enumerate(volumes):
        here = f"{path}[{place}]"
        name = volume.get("name") or ""
        sources = [member for member in volume if member != "name"]
        found = [forbidden(f"{here}.{one}", "may not specify more than 1 volume type") for one in sources[1:]]
        if not sources:
            found.append(required(here, "must specify a volume type"))
        found += _validate_source(volume, here)
        if not name:
            found.append(required(f"{here}.name"))
        found += [invalid(f"{here}.name", name, text) for text in (names.check_label(name) if name else ())]
        if name in known:
            found.append(duplicate(f"{here}.name", name))
        if not found:
            known.add(name)
        errors += found
    return known, errors


#: Volume source -> the members it cannot do without.
_SOURCE_NEEDS = {
    "secret": ("secretName",),
    "configMap": ("name",),
    "hostPath": ("path",),
    "persistentVolumeClaim": ("claimName",),
}


def _validate_source(volume: Spec, path: str) -> Iterator[FieldError]:
    for source, members in _SOURCE_NEEDS.items():
        for member in members:
            if source in volume and not (volume[source] or {}).get(member):
                yield required(f"{path}.{source}.{member}")


def _validate_containers(spec: Spec, path: str, volumes: set[str]) -> Iterator[FieldError]:
    containers = spec.get("containers") or []
    if not containers:
        yield required(f"{path}.containers")
    used: set[str] = set()
    for place, container in enumerate(containers):
        here = f"{path}.containers[{place}]"
        name = container.get("name") or ""
        yield from validate_container(container, here, volumes)
        if name in used:
            yield duplicate(f"{here}.name", name)
        used.add(name)
        yield from validate_life(container, here)
        if container.get("restartPolicy") is not None:
            yield forbidden(f"{here}.restartPolicy", "may not be set for non-init containers")
    for place, container in enumerate(spec.get("initContainers") or ()):
        here = f"{path}.initContainers[{place}]"
        name, policy = container.get("name") or "", container.get("restartPolicy")
        yield from validate_container(container, here, volumes)
        if policy not in (None, "Always"):
            yield not_supported(f"{here}.restartPolicy", policy, ("Always",))
        if name in used:
            yield duplicate(f"{here}.name", name)
        used.update({name} - {""})
        if policy == "Always":
            yield from validate_life(container, here)
        else:
            yield from (forbidden(f"{here}.{one}", _INIT_ONLY) for one in _LIFE if container.get(one) is not None)


def validate_pod_update(pod: Spec, old: Spec) -> Iterator[FieldError]:
    """What an update of a Pod changes although it may not."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    for member in ("containers", "initContainers"):
        if len(spec.get(member) or ()) != len(before.get(member) or ()):
            yield forbidden(f"spec.{member}", "pod updates may not add or remove containers")
            return
    changed = [
        member
        for member in sorted(spec.keys() | before.keys())
        if not equal_json(_comparable(spec, member), _comparable(before, member))
    ]
    if changed:
        listed = "\n".join(f"  {member}: {before.get(member)!r} -> {spec.get(member)!r}" for member in changed)
        yield forbidden("spec", f"pod updates may not change fields other than {_MUTABLE}\n{listed}")
    deadline, deadline_before = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if deadline is None and deadline_before is not None:
        text = "must not update from a positive integer to nil value"
        yield invalid("spec.activeDeadlineSeconds", None, text)
    elif deadline_before is not None and deadline is not None and deadline > deadline_before:
        yield invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value")
    tolerations = spec.get("tolerations") or []
    if any(one not in tolerations for one in before.get("tolerations") or ()):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")


def _comparable(spec: Spec, member: str) -> Any:
    """A member without what may change."""
    value = spec.get(member)
    match member:
        case "containers" | "initContainers":
            return [{key: item for key, item in one.items() if key != "image"} for one in value or ()]
        case "activeDeadlineSeconds" | "tolerations" | "schedulingGates":
            return None
        case _:
            return value
