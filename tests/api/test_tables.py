"""Tables: what `kubectl get` shows, kind by kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lateen.api.kinds import Column, Kind
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.api.printing.layout import format_duration
from lateen.api.tables import build_table

NOW = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)
KINDS = {(kind.group, kind.kind): kind for kind in (*BUILTIN, *ISTIO)}


def _meta(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "creationTimestamp": "2026-01-10T11:55:00Z", **members}


def _row(group: str, kind: str, document: dict[str, Any], *, wide: bool = False) -> dict[str, Any]:
    table = build_table(KINDS[(group, kind)], [document], now=NOW)
    assert len(table["columnDefinitions"]) == len(table["rows"][0]["cells"])
    return {
        column["name"]: cell
        for column, cell in zip(table["columnDefinitions"], table["rows"][0]["cells"], strict=True)
        if wide or not column["priority"]
    }


def _pod(spec: dict[str, Any], status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": _meta("p", **metadata), "spec": spec, "status": status}


def _status(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "restartCount": 0, "ready": False, "state": {}, **members}


ONE = {"containers": [{"name": "a"}]}
TWO_INITS = {"initContainers": [{"name": "i"}, {"name": "j"}], **ONE}
SIDECAR = {"initContainers": [{"name": "s", "restartPolicy": "Always"}], **ONE}
RUNNING = {"running": {}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
READY = [{"type": "Ready", "status": "True"}]

PODS: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "a_new_pod": (_pod(ONE, {"phase": "Pending"}), ("0/1", "Pending", "0")),
    "a_running_pod": (
        _pod(ONE, {"phase": "Running", "containerStatuses": [_status("a", ready=True, state=RUNNING)]}),
        ("1/1", "Running", "0"),
    ),
    "a_waiting_container": (
        _pod(
            ONE,
            {
                "phase": "Pending",
                "containerStatuses": [_status("a", state={"waiting": {"reason": "ContainerCreating"}})],
            },
        ),
        ("0/1", "ContainerCreating", "0"),
    ),
    "a_container_that_keeps_failing": (
        _pod(
            ONE,
            {
                "phase": "Running",
                "containerStatuses": [
                    _status(
                        "a",
                        restartCount=3,
                        state={"waiting": {"reason": "CrashLoopBackOff"}},
                        lastState={"terminated": {"finishedAt": "2026-01-10T11:59:55Z"}},
                    )
                ],
            },
        ),
        ("0/1", "CrashLoopBackOff", "3 (5s ago)"),
    ),
    "a_finished_pod": (
        _pod(ONE, {"phase": "Succeeded", "containerStatuses": [_status("a", state=DONE)]}),
        ("0/1", "Completed", "0"),
    ),
    "a_failed_container_without_reason": (
        _pod(
            ONE,
            {"phase": "Failed", "containerStatuses": [_status("a", state={"terminated": {"exitCode": 3}})]},
        ),
        ("0/1", "ExitCode:3", "0"),
    ),
    "an_evicted_pod": (_pod(ONE, {"phase": "Failed", "reason": "Evicted"}), ("0/1", "Evicted", "0")),
    "the_first_init_container_runs": (
        _pod(
            TWO_INITS,
            {
                "phase": "Pending",
                "initContainerStatuses": [_status("i", state=RUNNING), _status("j")],
                "containerStatuses": [_status("a", state={"waiting": {"reason": "PodInitializing"}})],
            },
        ),
        ("0/1", "Init:0/2", "0"),
    ),
    "the_second_init_container_failed": (
        _pod(
            TWO_INITS,
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    _status("i", state=DONE),
                    _status("j", restartCount=1, state={"terminated": {"exitCode": 1, "reason": "Error"}}),
                ],
            },
        ),
        ("0/1", "Init:Error", "1"),
    ),
    "the_init_containers_are_done": (
        _pod(
            TWO_INITS,
            {
                "phase": "Pending",
                "initContainerStatuses": [_status("i", state=DONE), _status("j", state=DONE)],
                "containerStatuses": [_status("a", state={"waiting": {"reason": "PodInitializing"}})],
            },
        ),
        ("0/1", "PodInitializing", "0"),
    ),
    "a_native_sidecar_counts": (
        _pod(
            SIDECAR,
            {
                "phase": "Running",
                "initContainerStatuses": [_status("s", ready=True, started=True, restartCount=1, state=RUNNING)],
                "containerStatuses": [_status("a", ready=True, state=RUNNING, restartCount=2)],
            },
        ),
        ("2/2", "Running", "3"),
    ),
    "a_sidecar_that_has_not_started_holds_the_pod_up": (
        _pod(SIDECAR, {"phase": "Pending", "initContainerStatuses": [_status("s", state=RUNNING)]}),
        ("0/2", "Init:0/1", "0"),
    ),
    "one_of_two_is_done_and_the_other_ready": (
        _pod(
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {
                "phase": "Running",
                "conditions": READY,
                "containerStatuses": [_status("a", state=DONE), _status("b", ready=True, state=RUNNING)],
            },
        ),
        ("1/2", "Running", "0"),
    ),
    "a_pod_being_deleted": (
        _pod(
            ONE,
            {"phase": "Running", "containerStatuses": [_status("a", ready=True, state=RUNNING)]},
            deletionTimestamp="2026-01-10T11:59:00Z",
        ),
        ("1/1", "Terminating", "0"),
    ),
    "a_finished_pod_being_deleted": (
        _pod(
            ONE,
            {"phase": "Succeeded", "containerStatuses": [_status("a", state=DONE)]},
            deletionTimestamp="2026-01-10T11:59:00Z",
        ),
        ("0/1", "Completed", "0"),
    ),
}


@pytest.mark.parametrize(("pod", "expected"), PODS.values(), ids=PODS)
def test_a_pod_shows_one_word_of_status(pod: dict[str, Any], expected: tuple[str, str, str]) -> None:
    row = _row("", "Pod", pod)
    assert (row["Ready"], row["Status"], row["Restarts"]) == expected
    assert row["Age"] == "5m"


def test_a_finished_pod_carries_a_row_condition() -> None:
    table = build_table(KINDS[("", "Pod")], [_pod(ONE, {"phase": "Succeeded"})], now=NOW)
    assert table["rows"][0]["conditions"][0]["reason"] == "Succeeded"


TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}

ROWS: dict[str, tuple[str, str, dict[str, Any], list[Any]]] = {
    "a_pod_wide": (
        "",
        "Pod",
        _pod({**ONE, "nodeName": "n"}, {"phase": "Pending", "podIPs": [{"ip": "10.0.0.1"}]}),
        ["p", "0/1", "Pending", "0", "5m", "10.0.0.1", "n", "<none>", "<none>"],
    ),
    "a_service": (
        "",
        "Service",
        {
            "metadata": _meta("s"),
            "spec": {
                "type": "NodePort",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "selector": {"b": "2", "a": "1"},
            },
        },
        ["s", "NodePort", "10.96.0.1", "<none>", "80:30000/TCP,53/UDP", "5m", "a=1,b=2"],
    ),
    "a_headless_service": (
        "",
        "Service",
        {"metadata": _meta("s"), "spec": {"type": "ClusterIP", "clusterIPs": ["None"]}},
        ["s", "ClusterIP", "None", "<none>", "<none>", "5m", "<none>"],
    ),
    "a_load_balancer_that_waits": (
        "",
        "Service",
        {"metadata": _meta("s"), "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]}},
        ["s", "LoadBalancer", "10.96.0.1", "<pending>", "<none>", "5m", "<none>"],
    ),
    "a_deployment": (
        "apps",
        "Deployment",
        {
            "metadata": _meta("d"),
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
            "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
        },
        ["d", "1/3", 2, 1, "5m", "c", "i:1", "app=x"],
    ),
    "a_replica_set": (
        "apps",
        "ReplicaSet",
        {
            "metadata": _meta("r"),
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
            "status": {"replicas": 2, "readyReplicas": 1},
        },
        ["r", 2, 2, 1, "5m", "c", "i:1", "app=x"],
    ),
    "a_job": (
        "batch",
        "Job",
        {
            "metadata": _meta("j"),
            "spec": {"completions": 2, "template": TEMPLATE},
            "status": {"succeeded": 1, "startTime": "2026-01-10T11:59:00Z"},
        },
        ["j", "Running", "1/2", "60s", "5m", "c", "i:1", "<none>"],
    ),
    "a_node": (
        "",
        "Node",
        {
            "metadata": _meta("n", labels={"node-role.kubernetes.io/worker": ""}),
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
                "nodeInfo": {"kubeletVersion": "v1.34.0", "osImage": "Linux", "kernelVersion": "6"},
            },
        },
        [
            "n",
            "Ready,SchedulingDisabled",
            "worker",
            "5m",
            "v1.34.0",
            "10.0.0.9",
            "<none>",
            "Linux",
            "6",
            "<unknown>",
        ],
    ),
    "a_namespace": (
        "",
        "Namespace",
        {"metadata": _meta("ns"), "status": {"phase": "Active"}},
        ["ns", "Active", "5m"],
    ),
    "a_config_map": ("", "ConfigMap", {"metadata": _meta("c"), "data": {"a": "1", "b": "2"}}, ["c", 2, "5m"]),
    "a_secret": (
        "",
        "Secret",
        {"metadata": _meta("s"), "type": "Opaque", "data": {"a": "MQ=="}},
        ["s", "Opaque", 1, "5m"],
    ),
    "endpoints": (
        "",
        "Endpoints",
        {
            "metadata": _meta("e"),
            "subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]}],
        },
        ["e", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", "5m"],
    ),
    "an_endpoint_slice_without_endpoints": (
        "discovery.k8s.io",
        "EndpointSlice",
        {"metadata": _meta("e"), "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": []},
        ["e", "IPv4", "80", "<unset>", "5m"],
    ),
    "an_event": (
        "",
        "Event",
        {
            "metadata": _meta("e.1"),
            "type": "Normal",
            "reason": "Started",
            "message": "ok ",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-10T11:59:00Z",
            "lastTimestamp": "2026-01-10T11:59:30Z",
            "count": 3,
        },
        ["30s", "Normal", "Started", "pod/p", "spec.containers{a}", "kubelet, n", "ok", "60s", 3, "e.1"],
    ),
    "a_service_account": ("", "ServiceAccount", {"metadata": _meta("default")}, ["default", 0, "5m"]),
    "a_lease": (
        "coordination.k8s.io",
        "Lease",
        {"metadata": _meta("l"), "spec": {"holderIdentity": "me"}},
        ["l", "me", "5m"],
    ),
    "a_role_binding": (
        "rbac.authorization.k8s.io",
        "RoleBinding",
        {
            "metadata": _meta("b"),
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "ns", "name": "sa"}, {"kind": "User", "name": "u"}],
        },
        ["b", "Role/r", "5m", "u", "", "ns/sa"],
    ),
    "a_webhook_configuration": (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        {"metadata": _meta("w"), "webhooks": [{}, {}]},
        ["w", 2, "5m"],
    ),
    "a_crd_shows_when_it_was_created": (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        {"metadata": _meta("x.y.io")},
        ["x.y.io", "2026-01-10T11:55:00Z"],
    ),
    "a_role_shows_when_it_was_created": (
        "rbac.authorization.k8s.io",
        "Role",
        {"metadata": _meta("r")},
        ["r", "2026-01-10T11:55:00Z"],
    ),
    "a_virtual_service": (
        "networking.istio.io",
        "VirtualService",
        {"metadata": _meta("v"), "spec": {"hosts": ["reviews"], "gateways": ["mesh", "gw"]}},
        ["v", '["mesh","gw"]', '["reviews"]', "5m"],
    ),
}


@pytest.mark.parametrize(("group", "kind", "document", "expected"), ROWS.values(), ids=ROWS)
def test_a_row_shows_what_kubectl_shows(group: str, kind: str, document: dict[str, Any], expected: list[Any]) -> None:
    assert list(_row(group, kind, document, wide=True).values()) == expected


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.qualified_name)
def test_every_kind_has_a_cell_for_each_column_even_when_empty(kind: Kind) -> None:
    table = build_table(kind, [{"metadata": {"name": "x"}}], now=NOW)
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])


def test_custom_columns_have_the_type_they_declare() -> None:
    columns = (
        Column(name="Count", type="integer", json_path=".spec.count"),
        Column(name="On", type="boolean", json_path=".spec.on"),
        Column(name="Since", type="date", json_path=".spec.since"),
        Column(name="Missing", type="string", json_path=".spec.missing", priority=1),
    )
    kind = Kind(
        group="x.io",
        version="v1",
        served_versions=("v1",),
        kind="Thing",
        plural="things",
        singular="thing",
        columns=columns,
        builtin=False,
    )
    document = {
        "metadata": _meta("t"),
        "spec": {"count": 2.0, "on": "yes", "since": (NOW - timedelta(hours=3)).isoformat()},
    }
    table = build_table(kind, [document], now=NOW, include_object="None")
    assert table["rows"] == [{"cells": ["t", 2, None, "3h", None]}]


DURATIONS = {
    -5: "<invalid>",
    -1: "0s",
    0: "0s",
    119: "119s",
    120: "2m",
    135: "2m15s",
    600: "10m",
    10_799: "179m",
    10_800: "3h",
    11_100: "3h5m",
    86_400: "24h",
    172_800: "2d",
    176_400: "2d1h",
    86_400 * 30: "30d",
    86_400 * 365 * 3: "3y",
    86_400 * (365 * 3 + 4): "3y4d",
    86_400 * 365 * 9: "9y",
}


@pytest.mark.parametrize(("seconds", "expected"), DURATIONS.items())
def test_a_duration_is_rounded_as_kubectl_rounds_it(seconds: int, expected: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == expected
