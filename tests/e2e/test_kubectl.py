"""Real kubectl against the embedded API server with a running mesh."""

from __future__ import annotations

import os
import subprocess

import yaml

from .conftest import Mesh, pod, poll, service


def test_apply_get_describe_edit_delete_a_running_pod(mesh: Mesh, namespace: str) -> None:
    mesh.apply(service("web"), pod("web", sidecar=True), namespace=namespace)
    mesh.wait_ready(namespace, "web")
    table = mesh.kubectl("-n", namespace, "get", "pods", "-o", "wide", "--show-labels").stdout
    header, row = table.splitlines()
    assert header.split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["web", "2/2", "Running", "0"]
    assert "app=web" in row
    assert "10.244." in row

    shown = yaml.safe_load(mesh.kubectl("-n", namespace, "get", "pod", "web", "-o", "yaml").stdout)
    assert {status["name"] for status in shown["status"]["containerStatuses"]} == {"app"}
    assert "istio-proxy" in {status["name"] for status in shown["status"]["initContainerStatuses"]}

    described = mesh.kubectl("-n", namespace, "describe", "pod", "web").stdout
    assert "istio-proxy" in described
    assert "Started" in described

    mesh.kubectl("-n", namespace, "patch", "service", "web", "-p", '{"spec":{"ports":[{"port":80,"name":"web"}]}}')
    assert mesh.kubectl(
        "-n", namespace, "get", "service", "web", "-o", "jsonpath={.spec.ports[0].name}"
    ).stdout == "web"  # fmt: skip
    mesh.kubectl("-n", namespace, "delete", "pod", "web", "--wait", "--timeout=30s")
    assert mesh.get("pod", "web", namespace) is None


def test_edit_opens_an_editor_and_patches(mesh: Mesh, namespace: str) -> None:
    mesh.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "old"}},
        namespace=namespace,
    )
    mesh.environment["KUBE_EDITOR"] = "sed -i s/old/new/"
    mesh.kubectl("-n", namespace, "edit", "configmap", "c")
    found = mesh.get("configmap", "c", namespace)
    assert found is not None
    assert found["data"] == {"a": "new"}


def test_get_watches(mesh: Mesh, namespace: str) -> None:
    assert mesh.kubectl_path
    command = [mesh.kubectl_path, "-n", namespace, "get", "configmaps", "-w", "-o", "name"]
    with subprocess.Popen(command, env=mesh.environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        assert watching.stdout.readline().strip() == "configmap/istio-ca-root-cert"
        os.set_blocking(watching.stdout.fileno(), False)
        mesh.kubectl("-n", namespace, "create", "configmap", "late")
        seen = poll(lambda: watching.stdout.readline() if watching.stdout else "", until=lambda line: "late" in line)
        assert seen.strip() == "configmap/late"
        watching.terminate()


def test_explain_knows_builtin_and_istio_kinds(mesh: Mesh) -> None:
    assert "containers" in mesh.kubectl("explain", "pod.spec").stdout
    assert "mtls" in mesh.kubectl("explain", "peerauthentication.spec").stdout


def test_logs_show_the_app_and_the_proxy(mesh: Mesh, namespace: str) -> None:
    command = ["python3", "-c", "import time; print('hello from the app', flush=True); time.sleep(1000)"]
    mesh.apply(pod("talk", sidecar=True, command=command), namespace=namespace)
    mesh.wait_ready(namespace, "talk")
    assert "hello from the app" in mesh.kubectl("-n", namespace, "logs", "talk", "-c", "app").stdout
    assert mesh.kubectl("-n", namespace, "logs", "talk", "-c", "istio-proxy").stdout


def test_a_deleted_namespace_takes_its_objects_along(mesh: Mesh) -> None:
    mesh.kubectl("create", "namespace", "short-lived")
    mesh.apply(service("web"), pod("web", sidecar=False), namespace="short-lived")
    mesh.wait_ready("short-lived", "web")
    mesh.kubectl("delete", "namespace", "short-lived", "--wait", "--timeout=40s")
    assert mesh.get("namespace", "short-lived") is None
