"""Defaults that depend on more than one member, by kind and by part; each completes a document (or part) in
place.

Only `defaults.apply_defaults` calls these, on a copy. Source: the field descriptions of the Kubernetes API
reference, and for Services the page "IPv4/IPv6 dual-stack" (the embedded cluster is IPv4 only).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

JsonObject = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_THREE_HOURS_SECONDS = 10_800


def _section(document: JsonObject, *path: str) -> JsonObject:
    """The object at a path, made where it is missing."""
    for key in path:
        if not isinstance(document.get(key), dict):
            document[key] = {}
        document = document[key]
    return document


def _fill(document: JsonObject, **values: Any) -> None:
    for member, value in values.items():
        if document.get(member) in (None, ""):
            document[member] = value


def complete_pod_spec(spec: JsonObject) -> None:
    """The old name of `serviceAccountName` stands beside it, as Kubernetes shows both."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def complete_container(container: JsonObject) -> None:
    """Images with the tag `latest`, or with neither tag nor digest, are always pulled."""
    if not container.get("imagePullPolicy"):
        name = str(container.get("image") or "")
        tag = name.rpartition("/")[2].partition(":")[2]
        pinned = not name or "@" in name or (tag and tag != "latest")
        container["imagePullPolicy"] = "IfNotPresent" if pinned else "Always"


def complete_volume(volume: JsonObject) -> None:
    """A volume without source is an empty directory."""
    if not any(member != "name" for member in volume):
        volume["emptyDir"] = {}


def complete_subject(subject: JsonObject) -> None:
    """Users and groups belong to the API group of RBAC."""
    if subject.get("kind") in {"User", "Group"}:
        _fill(subject, apiGroup=_RBAC)


def complete_claim(claim: JsonObject) -> None:
    """A volume, or a claim of one, waits until it is bound."""
    _section(claim, "spec")
    _fill(_section(claim, "status"), phase="Pending")


def complete_behavior(behavior: JsonObject) -> None:
    """Scaling up adds 4 pods or doubles them, whichever is more; scaling down may take all."""
    everything = {"type": "Percent", "value": 100, "periodSeconds": 15}
    up = _section(behavior, "scaleUp")
    up.setdefault("stabilizationWindowSeconds", 0)
    up.setdefault("policies", [{"type": "Pods", "value": 4, "periodSeconds": 15}, everything])
    down = _section(behavior, "scaleDown")
    down.setdefault("policies", [everything])
    for rules in (up, down):
        _fill(rules, selectPolicy="Max")


def _pod(pod: JsonObject) -> None:
    spec = _section(pod, "spec")
    spec.setdefault("enableServiceLinks", True)
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        limits = (container.get("resources") or {}).get("limits")
        if limits:
            requests = _section(container, "resources", "requests")
            container["resources"]["requests"] = limits | requests
        for port in container.get("ports") or () if spec.get("hostNetwork") else ():
            port["hostPort"] = port.get("hostPort") or port.get("containerPort")


def _service(service: JsonObject) -> None:
    spec = _section(service, "spec")
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = _section(spec, "sessionAffinityConfig", "clientIP")
        client.setdefault("timeoutSeconds", _THREE_HOURS_SECONDS)
    for port in spec.get("ports") or ():
        _fill(port, protocol="TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port") or 0
    kind = spec["type"]
    if kind in {"NodePort", "LoadBalancer"} or (kind == "ClusterIP" and spec.get("externalIPs")):
        _fill(spec, externalTrafficPolicy="Cluster")
    if kind != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
        _complete_addresses(spec)
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    _section(service, "status", "loadBalancer")


def _complete_addresses(spec: JsonObject) -> None:
    address, addresses = spec.get("clusterIP"), spec.get("clusterIPs")
    if address and not addresses:
        spec["clusterIPs"] = [address]
    elif addresses and not address:
        spec["clusterIP"] = addresses[0]
    both = spec.get("clusterIP") == "None" and not spec.get("selector")
    _fill(spec, ipFamilyPolicy="RequireDualStack" if both else "SingleStack")
    if not spec.get("ipFamilies"):
        spec["ipFamilies"] = ["IPv4", "IPv6"] if both else ["IPv4"]


def _namespace(namespace: JsonObject) -> None:
    name = _section(namespace, "metadata").get("name")
    if name:
        _section(namespace, "metadata", "labels")["kubernetes.io/metadata.name"] = name
    if not _section(namespace, "metadata").get("deletionTimestamp"):
        _section(namespace, "spec").setdefault("finalizers", ["kubernetes"])
    _section(namespace, "status")


def _secret(secret: JsonObject) -> None:
    _fill(secret, type="Opaque")
    plain = secret.pop("stringData", None)
    if plain:
        data = _section(secret, "data")
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode()


def _deployment(deployment: JsonObject) -> None:
    spec = _section(deployment, "spec")
    _section(spec, "template", "spec")
    for member, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
        spec.setdefault(member, value)
    strategy = _section(spec, "strategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _section(strategy, "rollingUpdate")
        for member in ("maxUnavailable", "maxSurge"):
            rolling.setdefault(member, "25%")
    _section(deployment, "status")


def _replica_set(replica_set: JsonObject) -> None:
    spec = _section(replica_set, "spec")
    spec.setdefault("replicas", 1)
    _section(spec, "template", "spec")
    _section(replica_set, "status").setdefault("replicas", 0)


def _replication_controller(controller: JsonObject) -> None:
    spec = _section(controller, "spec")
    spec.setdefault("replicas", 1)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        spec["selector"] = spec.get("selector") or dict(labels)
        metadata = _section(controller, "metadata")
        metadata["labels"] = metadata.get("labels") or dict(labels)
    _section(controller, "status").setdefault("replicas", 0)


def _stateful_set(stateful_set: JsonObject) -> None:
    spec = _section(stateful_set, "spec")
    _section(spec, "template", "spec")
    _fill(spec, podManagementPolicy="OrderedReady")
    for member, value in (("replicas", 1), ("revisionHistoryLimit", 10)):
        spec.setdefault(member, value)
    strategy = _section(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        _section(strategy, "rollingUpdate")
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = _section(spec, "persistentVolumeClaimRetentionPolicy")
    _fill(retention, whenDeleted="Retain", whenScaled="Retain")
    for member in ("replicas", "availableReplicas"):
        _section(stateful_set, "status").setdefault(member, 0)


_DAEMON_COUNTS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")


def _daemon_set(daemon_set: JsonObject) -> None:
    spec = _section(daemon_set, "spec")
    _section(spec, "template", "spec")
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = _section(spec, "updateStrategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _section(strategy, "rollingUpdate")
        for member, value in (("maxUnavailable", 1), ("maxSurge", 0)):
            rolling.setdefault(member, value)
    for member in _DAEMON_COUNTS:
        _section(daemon_set, "status").setdefault(member, 0)


def _job(job: JsonObject) -> None:
    spec = _section(job, "spec")
    _section(spec, "template", "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    for member, value in (
        ("parallelism", 1),
        ("backoffLimit", 2**31 - 1 if spec.get("backoffLimitPerIndex") is not None else 6),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("manualSelector", False),
        ("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"),
    ):
        spec.setdefault(member, value)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    metadata = _section(job, "metadata")
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)
    _section(job, "status")


def _cron_job(job: JsonObject) -> None:
    spec = _section(job, "spec")
    _fill(spec, concurrencyPolicy="Allow")
    _section(spec, "jobTemplate", "spec", "template", "spec")
    for member, value in (
        ("suspend", False),
        ("successfulJobsHistoryLimit", 3),
        ("failedJobsHistoryLimit", 1),
    ):
        spec.setdefault(member, value)
    _section(job, "status")


def _network_policy(policy: JsonObject) -> None:
    spec = _section(policy, "spec")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(("Egress",) if spec.get("egress") else ())]


def _autoscaler(scaler: JsonObject) -> None:
    spec = _section(scaler, "spec")
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _node(node: JsonObject) -> None:
    status = _section(node, "status")
    if "capacity" in status:
        status.setdefault("allocatable", status["capacity"])


def _definition(definition: JsonObject) -> None:
    spec = _section(definition, "spec")
    names = _section(spec, "names")
    kind = names.get("kind") or ""
    _fill(names, singular=kind.lower(), listKind=f"{kind}List")
    _section(spec, "conversion")


def _binding(binding: JsonObject) -> None:
    _section(binding, "roleRef")


def has_spec(document: JsonObject) -> None:
    """The specification is there, if only to take defaults."""
    _section(document, "spec")


def _pod_template(template: JsonObject) -> None:
    _section(template, "template", "spec")


_BUDGET_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def _disruption_budget(budget: JsonObject) -> None:
    for member in _BUDGET_COUNTS:
        _section(budget, "status").setdefault(member, 0)


KINDS: dict[tuple[str, str], Callable[[JsonObject], None]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("", "Secret"): _secret,
    ("", "Node"): _node,
    ("", "ReplicationController"): _replication_controller,
    ("", "PersistentVolume"): complete_claim,
    ("", "PodTemplate"): _pod_template,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("storage.k8s.io", "CSIDriver"): has_spec,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): has_spec,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
"""(group, kind) -> what completes such a document."""
