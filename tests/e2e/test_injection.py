"""Sidecar injection by a namespace label, seen with real kubectl: 2/2, probes that work under STRICT, opting out."""

from __future__ import annotations

import json

from .conftest import Mesh, pod, service

PROBES = {
    "ports": [{"name": "http", "containerPort": 8080}],
    "startupProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
    "livenessProbe": {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 1},
    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
    "lifecycle": {"preStop": {"httpGet": {"path": "/stop", "port": 8080}}},
}
STRICT = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default"},
    "spec": {"mtls": {"mode": "STRICT"}},
}


def test_a_labelled_namespace_gets_sidecars_and_the_app_is_asked_through_the_agent(mesh: Mesh, namespace: str) -> None:
    mesh.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    outsider = pod("outsider", sidecar=False)
    outsider["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    mesh.apply(
        STRICT,
        service("web"),
        pod("web", sidecar=False, **PROBES),
        pod("client", sidecar=False),
        outsider,
        namespace=namespace,
    )
    mesh.wait_ready(namespace, "web", "client", "outsider")
    table = mesh.kubectl("-n", namespace, "get", "pods", "--no-headers").stdout
    assert {line.split()[0]: line.split()[1] for line in table.splitlines()} == {
        "web": "2/2",
        "client": "2/2",
        "outsider": "1/1",
    }
    stored = mesh.get("pod", "web", namespace)
    assert stored is not None
    assert json.loads(stored["metadata"]["annotations"]["sidecar.istio.io/status"])["revision"] == "default"
    assert stored["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/app-health/app/readyz"
    _, status, body = mesh.curl(namespace, "client", "http://web/", container="app")
    assert (status, f"spiffe://cluster.local/ns/{namespace}/sa/default" in body) == (200, True)
    code, status, _ = mesh.curl(namespace, "outsider", "http://web/", container="app")
    assert (code != 0, status) == (True, 0)
    mesh.kubectl("-n", namespace, "delete", "pod", "web", "--timeout=20s")
    events = mesh.kubectl("-n", namespace, "get", "events", "-o", "jsonpath={.items[*].reason}").stdout
    assert "FailedPreStopHook" not in events


def test_a_pod_is_refused_with_the_annotation_that_is_wrong(mesh: Mesh, namespace: str) -> None:
    mesh.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    annotation = "traffic.sidecar.istio.io/excludeInboundPorts"
    refused = mesh.kubectl(
        "-n",
        namespace,
        "apply",
        "-f",
        "-",
        stdin=json.dumps(pod("web", sidecar=False, annotations={annotation: "all"})),
        check=False,
    )
    assert refused.returncode == 1
    assert f"annotation {annotation}: 'all' is no list of ports" in refused.stderr
    assert mesh.get("pod", "web", namespace) is None
