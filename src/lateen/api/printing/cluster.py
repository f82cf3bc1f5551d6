"""Rows of what a cluster consists of: Node, Namespace, Event, ConfigMap, Secret, ServiceAccount, Lease,
quotas and classes.
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
    items,
    name_of,
    section,
    since,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _node(node: Document, now: datetime) -> list[Any]:
    status = section(node, "status")
    ready = [one for one in items(status, "conditions") if one.get("type") == "Ready"]
    words = ["Unknown"] if not ready else ["Ready" if ready[-1].get("status") == "True" else "NotReady"]
    if section(node, "spec").get("unschedulable"):
        words.append("SchedulingDisabled")
    labels = section(node, "metadata", "labels")
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get("kubernetes.io/role", ""))
    info = section(status, "nodeInfo")
    return [
        name_of(node),
        ",".join(words),
        ",".join(sorted(roles - {""})) or NONE,
        age_of(node, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        *(info.get(key) or UNKNOWN for key in ("osImage", "kernelVersion", "containerRuntimeVersion")),
    ]


def _address(status: Document, kind: str) -> str:
    found = (one.get("address", "") for one in items(status, "addresses") if one.get("type") == kind)
    return next(found, NONE)


def _namespace(namespace: Document, now: datetime) -> list[Any]:
    return [name_of(namespace), section(namespace, "status").get("phase", ""), age_of(namespace, now)]


def _event(event: Document, now: datetime) -> list[Any]:
    """An event of either API; the newer one names the same things differently."""
    involved = section(event, "involvedObject") or section(event, "regarding")
    source = section(event, "source") or section(event, "deprecatedSource")
    first_stamp = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or event.get("eventTime")
    last_stamp = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp")
    count = event.get("count") or event.get("deprecatedCount") or 1
    series = section(event, "series")
    if series:
        last_stamp, count = series.get("lastObservedTime"), series.get("count", 0)
    component = source.get("component") or event.get("reportingComponent") or event.get("reportingController")
    instance = source.get("host") or event.get("reportingInstance")
    reporter = f"{component or ''}, {instance}" if instance else component or ""
    target = str(involved.get("kind", "")).lower()
    return [
        since(last_stamp or first_stamp, now),
        event.get("type", ""),
        event.get("reason", ""),
        f"{target}/{involved['name']}" if involved.get("name") else target,
        involved.get("fieldPath", ""),
        reporter,
        str(event.get("message") or event.get("note") or "").strip(),
        since(first_stamp, now),
        count,
        name_of(event),
    ]


def _config_map(config_map: Document, now: datetime) -> list[Any]:
    size = len(section(config_map, "data")) + len(section(config_map, "binaryData"))
    return [name_of(config_map), size, age_of(config_map, now)]


def _secret(secret: Document, now: datetime) -> list[Any]:
    return [
        name_of(secret),
        secret.get("type", "Opaque"),
        len(section(secret, "data")),
        age_of(secret, now),
    ]


def _service_account(account: Document, now: datetime) -> list[Any]:
    return [name_of(account), len(items(account, "secrets")), age_of(account, now)]


def _lease(lease: Document, now: datetime) -> list[Any]:
    return [name_of(lease), section(lease, "spec").get("holderIdentity") or "", age_of(lease, now)]


def _quota(quota: Document, now: datetime) -> list[Any]:
    hard, used = section(quota, "status", "hard"), section(quota, "status", "used")
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        (limits if name.startswith("limits.") else requests).append(f"{name}: {used.get(name, 0)}/{hard[name]}")
    return [name_of(quota), ", ".join(requests), ", ".join(limits), age_of(quota, now)]


def _modes(modes: list[str]) -> str:
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in modes)


def _volume(volume: Document, now: datetime) -> list[Any]:
    spec, status = section(volume, "spec"), section(volume, "status")
    claim = section(spec, "claimRef")
    deleted = section(volume, "metadata").get("deletionTimestamp")
    return [
        name_of(volume),
        section(spec, "capacity").get("storage", "0"),
        _modes(items(spec, "accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if deleted else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age_of(volume, now),
        spec.get("volumeMode") or UNSET,
    ]


def _claim(claim: Document, now: datetime) -> list[Any]:
    spec, status = section(claim, "spec"), section(claim, "status")
    deleted, bound = section(claim, "metadata").get("deletionTimestamp"), spec.get("volumeName")
    return [
        name_of(claim),
        "Terminating" if deleted else status.get("phase", ""),
        bound or "",
        section(status, "capacity").get("storage", "0") if bound else "",
        _modes(items(status, "accessModes")) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(claim, now),
        spec.get("volumeMode") or UNSET,
    ]


def _storage_class(storage_class: Document, now: datetime) -> list[Any]:
    is_default = section(storage_class, "metadata", "annotations").get(_DEFAULT_CLASS) == "true"
    return [
        name_of(storage_class) + (" (default)" if is_default else ""),
        storage_class.get("provisioner", ""),
        storage_class.get("reclaimPolicy") or "Delete",
        storage_class.get("volumeBindingMode") or "Immediate",
        bool(storage_class.get("allowVolumeExpansion")),
        age_of(storage_class, now),
    ]


def _priority_class(priority: Document, now: datetime) -> list[Any]:
    return [
        name_of(priority),
        priority.get("value", 0),
        bool(priority.get("globalDefault")),
        age_of(priority, now),
        priority.get("preemptionPolicy", ""),
    ]


def _runtime_class(runtime: Document, now: datetime) -> list[Any]:
    return [name_of(runtime), runtime.get("handler", ""), age_of(runtime, now)]


_EVENT = Layout(
    columns(
        *("Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message"),
        *("+First Seen", "+Count", "+Name"),
    ),
    _event,
)

LAYOUTS = {
    ("", "Node"): Layout(
        columns(
            *("Name", "Status", "Roles", "Age", "Version"),
            wide=("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
        ),
        _node,
    ),
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("", "Namespace"): Layout(columns("Name", "Status", "Age"), _namespace),
    ("", "ConfigMap"): Layout(columns("Name", "Data", "Age"), _config_map),
    ("", "Secret"): Layout(columns("Name", "Type", "Data", "Age"), _secret),
    ("", "ServiceAccount"): Layout(columns("Name", "Secrets", "Age"), _service_account),
    ("coordination.k8s.io", "Lease"): Layout(columns("Name", "Holder", "Age"), _lease),
    ("", "ResourceQuota"): Layout(columns("Name", "Request", "Limit", "Age"), _quota),
    ("", "PersistentVolume"): Layout(
        columns(
            *("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass"),
            *("VolumeAttributesClass", "Reason", "Age"),
            wide=("VolumeMode",),
        ),
        _volume,
    ),
    ("", "PersistentVolumeClaim"): Layout(
        columns(
            *("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass"),
            *("VolumeAttributesClass", "Age"),
            wide=("VolumeMode",),
        ),
        _claim,
    ),
    ("storage.k8s.io", "StorageClass"): Layout(
        columns("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"),
        _storage_class,
    ),
    ("scheduling.k8s.io", "PriorityClass"): Layout(
        columns("Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"),
        _priority_class,
    ),
    ("node.k8s.io", "RuntimeClass"): Layout(columns("Name", "Handler", "Age"), _runtime_class),
}
