"""Rows of who may do what and of what extends the API: bindings, certificates, webhooks, policies, storage
drivers, APIServices.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from lateen.api.printing.layout import (
    NONE,
    UNSET,
    Document,
    Layout,
    age_of,
    columns,
    format_duration,
    format_selector,
    items,
    name_of,
    section,
)


def _binding(binding: Document, now: datetime) -> list[Any]:
    role = section(binding, "roleRef")
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for one in items(binding, "subjects"):
        name = one.get("name", "")
        if one.get("kind") == "ServiceAccount" and one.get("namespace"):
            name = f"{one['namespace']}/{name}"
        subjects.setdefault(one.get("kind", ""), []).append(name)
    text = f"{role.get('kind', '')}/{role.get('name', '')}"
    names = [", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [name_of(binding), text, age_of(binding, now), *names]


def _signing_request(request: Document, now: datetime) -> list[Any]:
    spec, status = section(request, "spec"), section(request, "status")
    conditions = {one.get("type") for one in items(status, "conditions")}
    words = [next((word for word in ("Denied", "Approved") if word in conditions), "Pending")]
    words += ["Failed"] if "Failed" in conditions else []
    words += ["Issued"] if status.get("certificate") else []
    seconds = spec.get("expirationSeconds")
    return [
        name_of(request),
        age_of(request, now),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        NONE if seconds is None else format_duration(timedelta(seconds=seconds)),
        ",".join(words),
    ]


def _webhooks(configuration: Document, now: datetime) -> list[Any]:
    return [name_of(configuration), len(items(configuration, "webhooks")), age_of(configuration, now)]


def _policy(policy: Document, now: datetime) -> list[Any]:
    kind = section(policy, "spec", "paramKind")
    text = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
    return [name_of(policy), len(items(policy, "spec", "validations")), text, age_of(policy, now)]


def _policy_binding(binding: Document, now: datetime) -> list[Any]:
    parameter = section(binding, "spec", "paramRef")
    text = UNSET
    if parameter.get("name"):
        text = f"{parameter.get('namespace') or '*'}/{parameter['name']}"
    elif parameter.get("selector") is not None:
        text = format_selector(parameter["selector"])
    return [name_of(binding), section(binding, "spec").get("policyName", ""), text, age_of(binding, now)]


def _api_service(service: Document, now: datetime) -> list[Any]:
    target = section(service, "spec", "service")
    available = [one for one in items(service, "status", "conditions") if one.get("type") == "Available"]
    word = "Unknown"
    if available:
        word = str(available[0].get("status", ""))
        word += f" ({available[0].get('reason')})" if word == "False" else ""
    text = f"{target.get('namespace')}/{target.get('name')}" if target else "Local"
    return [name_of(service), text, word, age_of(service, now)]


def _storage_driver(driver: Document, now: datetime) -> list[Any]:
    spec = section(driver, "spec")
    tokens = spec.get("tokenRequests")
    return [
        name_of(driver),
        bool(spec.get("attachRequired", True)),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        UNSET if tokens is None else ",".join(one.get("audience", "") for one in tokens),
        bool(spec.get("requiresRepublish")),
        ",".join(items(spec, "volumeLifecycleModes")) or NONE,
        age_of(driver, now),
    ]


def _storage_node(node: Document, now: datetime) -> list[Any]:
    return [name_of(node), len(items(node, "spec", "drivers")), age_of(node, now)]


def _storage_capacity(capacity: Document, now: datetime) -> list[Any]:
    return [name_of(capacity), capacity.get("storageClassName", ""), capacity.get("capacity") or UNSET]


def _attachment(attachment: Document, now: datetime) -> list[Any]:
    spec = section(attachment, "spec")
    return [
        name_of(attachment),
        spec.get("attacher", ""),
        section(spec, "source").get("persistentVolumeName") or "",
        spec.get("nodeName", ""),
        bool(section(attachment, "status").get("attached")),
        age_of(attachment, now),
    ]


_RBAC, _ADMISSION, _STORAGE = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "storage.k8s.io"
_BINDING = Layout(columns("Name", "Role", "Age", wide=("Users", "Groups", "ServiceAccounts")), _binding)
_WEBHOOKS = Layout(columns("Name", "Webhooks:integer", "Age"), _webhooks)

LAYOUTS = {
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
    (_ADMISSION, "MutatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingAdmissionPolicy"): Layout(
        columns("Name", "Validations:integer", "ParamKind", "Age"), _policy
    ),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): Layout(
        columns("Name", "PolicyName", "ParamRef", "Age"), _policy_binding
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): Layout(
        columns("Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"),
        _signing_request,
    ),
    ("apiregistration.k8s.io", "APIService"): Layout(columns("Name", "Service", "Available", "Age"), _api_service),
    (_STORAGE, "CSIDriver"): Layout(
        columns(
            *("Name", "AttachRequired:boolean", "PodInfoOnMount:boolean", "StorageCapacity:boolean"),
            *("TokenRequests", "RequiresRepublish:boolean", "Modes", "Age"),
        ),
        _storage_driver,
    ),
    (_STORAGE, "CSINode"): Layout(columns("Name", "Drivers:integer", "Age"), _storage_node),
    (_STORAGE, "CSIStorageCapacity"): Layout(columns("Name", "StorageClassName", "Capacity"), _storage_capacity),
    (_STORAGE, "VolumeAttachment"): Layout(
        columns("Name", "Attacher", "PV", "Node", "Attached:boolean", "Age"), _attachment
    ),
}
