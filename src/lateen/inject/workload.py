"""The workload that a pod belongs to, as telemetry and ISTIO_META_OWNER name it.

Flow: pod (labels, controlling owner) -> `Workload`. A ReplicaSet of a Deployment counts as that Deployment, a Job of
a CronJob as that CronJob. Source: Istio `pkg/kube/controllers` GetDeployMetaFromPod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lateen.api.objects import controller_of, labels_of, metadata_of, name_of, namespace_of

_CRON_JOB = re.compile(r"(.+)-\d{8,10}")
_MAX_LABEL_LENGTH = 63


@dataclass(frozen=True)
class Workload:
    """What runs the pod."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def owner(self) -> str:
        """The form of ISTIO_META_OWNER."""
        return f"kubernetes://apis/{self.api_version}/namespaces/{self.namespace}/{self.kind.lower()}s/{self.name}"


def find_workload(pod: Mapping[str, Any]) -> Workload:
    """The workload of a pod; a pod without controller is its own."""
    namespace = namespace_of(pod) or "default"
    owner = controller_of(pod)
    if owner is None:
        name = name_of(pod) or (metadata_of(pod).get("generateName") or "").rstrip("-")
        return Workload("v1", "Pod", namespace, name)
    name, kind, version = owner.get("name", ""), owner.get("kind", ""), owner.get("apiVersion", "")
    suffix = "-" + labels_of(pod).get("pod-template-hash", "")
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return Workload("apps/v1", "Deployment", namespace, name.removesuffix(suffix))
    if kind == "Job" and (found := _CRON_JOB.fullmatch(name)) is not None:
        return Workload("batch/v1", "CronJob", namespace, found[1])
    return Workload(version, kind, namespace, name)


def find_canonical_name(labels: Mapping[str, str], workload: Workload) -> str:
    """The value of `service.istio.io/canonical-name`."""
    for label in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"):
        if labels.get(label):
            return labels[label]
    return workload.name[:_MAX_LABEL_LENGTH].rstrip("-")


def find_canonical_revision(labels: Mapping[str, str]) -> str:
    """The value of `service.istio.io/canonical-revision`."""
    for label in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"):
        if labels.get(label):
            return labels[label]
    return "latest"
