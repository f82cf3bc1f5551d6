"""What kube-apiserver fills in: (kind, document) -> document with defaults, the given one unchanged.

Most defaults hang on a part, not on a kind (every `Probe` has `periodSeconds: 10`), so they stand in tables
by definition name and are applied wherever the schema reaches such a part; the rest are small functions in
`kind_defaults`. Values that are there stay, except that an empty string counts as missing, as it does in
Kubernetes' Go types. Source: the field descriptions of the Kubernetes API reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lateen.api.kinds import Kind
from lateen.api.schema import kind_defaults
from lateen.api.schema.definitions import follow
from lateen.api.schema.model import Schema
from lateen.api.schema.structural import apply_defaults as apply_structural_defaults

JsonObject = dict[str, Any]

_CORE, _ADMISSION = "io.k8s.api.core.v1", "io.k8s.api.admissionregistration.v1"
_FILE_MODE = 0o644
_WEBHOOK = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}

#: Definition -> member -> default.
_MEMBERS: dict[str, JsonObject] = {
    f"{_CORE}.PodSpec": {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
    },
    **{
        f"{_CORE}.{name}": {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        }
        for name in ("Container", "EphemeralContainer")
    },
    f"{_CORE}.ContainerPort": {"protocol": "TCP"},
    f"{_CORE}.Probe": {
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    },
    f"{_CORE}.HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    f"{_CORE}.GRPCAction": {"service": ""},
    f"{_CORE}.ObjectFieldSelector": {"apiVersion": "v1"},
    f"{_CORE}.SecretVolumeSource": {"defaultMode": _FILE_MODE},
    f"{_CORE}.ConfigMapVolumeSource": {"defaultMode": _FILE_MODE},
    f"{_CORE}.DownwardAPIVolumeSource": {"defaultMode": _FILE_MODE},
    f"{_CORE}.ProjectedVolumeSource": {"defaultMode": _FILE_MODE},
    f"{_CORE}.ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    f"{_CORE}.HostPathVolumeSource": {"type": ""},
    f"{_CORE}.EndpointPort": {"protocol": "TCP"},
    f"{_CORE}.AzureDiskVolumeSource": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "kind": "Shared",
        "readOnly": False,
    },
    **{f"{_CORE}.ISCSI{part}VolumeSource": {"iscsiInterface": "default"} for part in ("", "Persistent")},
    **{
        f"{_CORE}.RBD{part}VolumeSource": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}
        for part in ("", "Persistent")
    },
    **{
        f"{_CORE}.ScaleIO{part}VolumeSource": {"storageMode": "ThinProvisioned", "fsType": "xfs"}
        for part in ("", "Persistent")
    },
    f"{_CORE}.PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    f"{_CORE}.PersistentVolumeSpec": {
        "volumeMode": "Filesystem",
        "persistentVolumeReclaimPolicy": "Retain",
    },
    f"{_CORE}.NamespaceStatus": {"phase": "Active"},
    "io.k8s.api.discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
    "io.k8s.api.rbac.v1.RoleRef": {"apiGroup": "rbac.authorization.k8s.io"},
    "io.k8s.api.networking.v1.NetworkPolicyPort": {"protocol": "TCP"},
    "io.k8s.api.networking.v1.IngressClassParametersReference": {"scope": "Cluster"},
    f"{_ADMISSION}.ValidatingWebhook": _WEBHOOK,
    f"{_ADMISSION}.MutatingWebhook": _WEBHOOK | {"reinvocationPolicy": "Never"},
    f"{_ADMISSION}.RuleWithOperations": {"scope": "*"},
    f"{_ADMISSION}.ServiceReference": {"port": 443},
    "io.k8s.api.storage.v1.StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "io.k8s.api.storage.v1.CSIDriverSpec": {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "requiresRepublish": False,
        "seLinuxMount": False,
        "volumeLifecycleModes": ["Persistent"],
    },
    "io.k8s.api.scheduling.v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    f"{_ADMISSION}.ValidatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    f"{_ADMISSION}.MatchResources": {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
    },
    f"{_ADMISSION}.NamedRuleWithOperations": {"scope": "*"},
    "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceConversion": {"strategy": "None"},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ServiceReference": {"port": 443},
}

#: Definition -> defaults that depend on other members; runs after those above, outer parts before inner ones.
_PARTS: dict[str, Callable[[JsonObject], None]] = {
    f"{_CORE}.PodSpec": kind_defaults.complete_pod_spec,
    f"{_CORE}.Container": kind_defaults.complete_container,
    f"{_CORE}.EphemeralContainer": kind_defaults.complete_container,
    f"{_CORE}.Volume": kind_defaults.complete_volume,
    f"{_CORE}.PersistentVolumeClaim": kind_defaults.complete_claim,
    f"{_CORE}.PersistentVolumeClaimTemplate": kind_defaults.has_spec,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior": kind_defaults.complete_behavior,
    "io.k8s.api.rbac.v1.Subject": kind_defaults.complete_subject,
}

#: Members that the wrapped Go type holds by value: zero means missing.
_ZERO_IS_MISSING = f"{_CORE}.Probe"


def apply_defaults(kind: Kind, document: JsonObject, schema: Schema | None) -> JsonObject:
    """The document with the defaults of its kind; a custom kind takes them from its schema."""
    if schema is None:
        return document
    if not kind.builtin:
        found = apply_structural_defaults(document, schema)
        return found if isinstance(found, dict) else document
    result: JsonObject = _copy(document)
    complete = kind_defaults.KINDS.get((kind.group, kind.kind))
    if complete is not None:
        complete(result)
    _walk(result, Schema(ref=kind.schema_name))
    return result


def _copy(value: Any) -> Any:
    """A copy that may be changed in place; JSON values only."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _walk(value: Any, schema: Schema) -> None:
    resolved = follow(schema)
    if isinstance(value, list):
        if resolved.items is not None:
            for item in value:
                _walk(item, resolved.items)
        return
    if not isinstance(value, dict):
        return
    if schema.ref is not None:
        for member, default in _MEMBERS.get(schema.ref, {}).items():
            found = value.get(member)
            if found is None or found == "" or (found == 0 and schema.ref == _ZERO_IS_MISSING):
                value[member] = _copy(default)
        if (complete := _PARTS.get(schema.ref)) is not None:
            complete(value)
    for key, item in value.items():
        child = resolved.properties.get(key) or resolved.value_schema
        if child is not None and isinstance(item, dict | list):
            _walk(item, child)
