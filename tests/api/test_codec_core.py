from typing import Any

import pytest

from lateen.api import apps, core, discovery, pod
from lateen.api.codec import FieldError, decode

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}, "creationTimestamp": None},
    "spec": {
        "containers": [
            {
                "name": "app",
                "image": "lateen/sample-httpbin",
                "ports": [{"containerPort": 8080}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
            }
        ],
        "volumes": [
            {
                "name": "t",
                "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "a"}}]},
            },
            {"name": "n", "nfs": {"server": "s", "path": "/"}},
        ],
    },
    "status": {"podIP": "10.244.0.2", "containerStatuses": [{"name": "app", "state": {"running": {}}}]},
}


def test_a_view_reads_what_the_document_says_and_defaults_for_the_rest() -> None:
    value = decode(POD, pod.Pod).value
    assert value is not None
    container = value.spec.containers[0]
    assert container.ports[0].container_port == 8080
    assert container.readiness_probe is not None
    assert container.readiness_probe.period_seconds == 10
    assert container.resources.limits == {"cpu": 1, "memory": "1Gi"}
    assert value.status.pod_ip == "10.244.0.2"
    assert value.status.container_statuses[0].state.running is not None
    assert value.spec.restart_policy == "Always"


def test_null_is_the_default_everywhere_as_in_kubernetes() -> None:
    with_nulls: dict[str, Any] = {
        **POD,
        "spec": {**POD["spec"], "initContainers": None, "nodeName": None, "securityContext": None},  # type: ignore[dict-item]
    }
    assert decode(with_nulls, pod.Pod) == decode(POD, pod.Pod)


def test_every_mistake_is_reported_with_its_path() -> None:
    document = {
        "metadata": {"name": 7, "labels": {"a": 1, "b": "x", "c/d": True}},
        "spec": {
            "ports": [{"port": 80, "targetPort": []}, {"port": "80"}, None, "x"],
            "selector": ["app"],
            "clusterIP": 5.5,
        },
        "status": [],
    }
    assert decode(document, core.Service).errors == (
        FieldError(path="metadata.name", message="must be a string, not the number 7"),
        FieldError(path="metadata.labels[a]", message="must be a string, not the number 1"),
        FieldError(path="metadata.labels[c/d]", message="must be a string, not true"),
        FieldError(path="spec.selector", message="must be an object, not a list"),
        FieldError(path="spec.ports[0].targetPort", message="must be a number or a string, not a list"),
        FieldError(path="spec.ports[1].port", message='must be an integer, not the string "80"'),
        FieldError(path="spec.ports[2]", message="must be an object, not null"),
        FieldError(path="spec.ports[3]", message='must be an object, not the string "x"'),
        FieldError(path="spec.clusterIP", message="must be a string, not the number 5.5"),
        FieldError(path="status", message="must be an object, not a list"),
    )


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_object_is_refused_without_a_traceback(document: Any) -> None:
    (error,) = decode(document, core.Service).errors
    assert error.path == ""
    assert error.message.startswith("must be an object")


@pytest.mark.parametrize(
    "view",
    [
        pod.Pod,
        core.Service,
        core.Namespace,
        core.Secret,
        core.ConfigMap,
        core.Node,
        core.ServiceAccount,
        discovery.EndpointSlice,
        discovery.Endpoints,
        apps.Deployment,
        apps.ReplicaSet,
        apps.StatefulSet,
        apps.DaemonSet,
        apps.Job,
        apps.CronJob,
    ],
)
def test_an_empty_document_reads_as_defaults_both_ways(view: Any) -> None:
    fast = decode({"metadata": {}}, view)
    slow = decode({"metadata": {"labels": None}}, view)
    assert fast.errors == slow.errors == ()
    assert fast.value == slow.value == view()


def test_views_compare_by_value_and_cannot_be_changed() -> None:
    first, second = decode(POD, pod.Pod).value, decode(POD, pod.Pod).value
    assert first == second
    with pytest.raises(AttributeError):
        first.spec = pod.PodSpec()  # type: ignore[misc, union-attr]
