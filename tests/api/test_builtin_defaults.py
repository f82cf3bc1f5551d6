"""What the API server fills in."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lateen.api.kinds_builtin import BUILTIN
from lateen.api.schema.defaults import apply_defaults
from lateen.api.schema.definitions import find_schema
from lateen.base.quantity import format_quantity

KINDS = {kind.kind: kind for kind in BUILTIN if kind.group != "events.k8s.io"}
CONTAINER = {"name": "a", "image": "i"}


def _object(kind: str, **members: Any) -> dict[str, Any]:
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": {"name": "x"}, **members}


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    kind = KINDS[document["kind"]]
    return apply_defaults(kind, document, find_schema(kind.group, kind.version, kind.kind))


def _pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("Pod", spec={"containers": list(containers), **spec})


def test_a_pod_gets_the_defaults_of_kubernetes() -> None:
    container = CONTAINER | {"ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"port": 80}}}
    spec = _complete(_pod(container | {"image": "nginx:1.2"}, volumes=[{"name": "c", "configMap": {"name": "m"}}]))[
        "spec"
    ]
    assert spec == {
        "containers": [
            {
                "name": "a",
                "image": "nginx:1.2",
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "readinessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                },
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "volumes": [{"name": "c", "configMap": {"name": "m", "defaultMode": 0o644}}],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:2", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_tag_decides_when_an_image_is_pulled(image: str, policy: str) -> None:
    pod = _complete(_pod({"name": "a", "image": image}))
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_service_gets_the_defaults_of_kubernetes() -> None:
    spec = _complete(_object("Service", spec={"ports": [{"port": 80}], "selector": {"a": "b"}}))["spec"]
    assert spec == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"a": "b"},
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
    }


def test_a_deployment_gets_the_defaults_of_kubernetes() -> None:
    spec = _complete(_object("Deployment", spec={"template": {}, "selector": {}}))["spec"]
    del spec["template"], spec["selector"]
    assert spec == {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    }


def test_secret_text_becomes_data() -> None:
    secret = _complete(_object("Secret", stringData={"a": "1"}))
    assert secret["data"] == {"a": "MQ=="}
    assert secret["type"] == "Opaque"
    assert "stringData" not in secret


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_defaults_leave_the_given_document_alone_and_settle_at_once(kind: str) -> None:
    document = _object(kind)
    before = copy.deepcopy(document)
    once = _complete(document)
    assert document == before
    assert _complete(once) == once


QUANTITIES = {
    "3000m": "3",
    "1500m": "1500m",
    "0.5": "500m",
    "1024Mi": "1Gi",
    "1.5Gi": "1536Mi",
    "0.3Ki": "307200m",
    "1000": "1k",
    "2e3": "2e3",
    "1e-3": "1e-3",
    "100n": "100n",
    "0.0000000001": "1n",
    "-5": "-5",
    "5E": "5E",
    "10Ei": "9223372036854775807",
    "0Gi": "0",
}


@pytest.mark.parametrize(("text", "expected"), QUANTITIES.items())
def test_a_quantity_is_written_as_kubernetes_writes_it(text: str, expected: str) -> None:
    assert format_quantity(text) == expected
