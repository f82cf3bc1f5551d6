"""Real kubectl against the embedded API server with a running mesh."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml

from .conftest import Mesh, peer_authentication, pod, poll, service


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


def test_get_shows_objects_of_every_namespace_and_form(mesh: Mesh, namespace: str) -> None:
    mesh.apply(service("web"), peer_authentication("STRICT"), namespace=namespace)
    everywhere = mesh.kubectl("get", "services", "-A").stdout
    assert everywhere.splitlines()[0].split()[:3] == ["NAMESPACE", "NAME", "TYPE"]
    assert {"kubernetes", "kube-dns", "istiod", "web"} <= {line.split()[1] for line in everywhere.splitlines()}
    as_json = json.loads(mesh.kubectl("-n", namespace, "get", "services", "-o", "json").stdout)
    as_yaml = yaml.safe_load(mesh.kubectl("-n", namespace, "get", "services", "-o", "yaml").stdout)
    assert as_json == as_yaml
    assert as_json["items"][0]["spec"]["clusterIP"].startswith("10.96.")
    assert mesh.kubectl("-n", namespace, "get", "pa").stdout.split()[:6][:5] == [
        "NAME",
        "MODE",
        "AGE",
        "default",
        "STRICT",
    ]
    columns = mesh.kubectl("-n", namespace, "get", "pa", "-o", "custom-columns=M:.spec.mtls.mode", "--no-headers")
    assert columns.stdout.strip() == "STRICT"
    wide = mesh.kubectl("get", "nodes", "-o", "wide").stdout
    assert wide.splitlines()[1].split()[:2] == ["lateen", "Ready"]


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"spec":{"ports":[{"port":81,"name":"more"}]}}'),
        ("merge", '{"spec":{"ports":[{"port":80,"name":"http"},{"port":81,"name":"more"}]}}'),
        ("json", '[{"op":"add","path":"/spec/ports/-","value":{"port":81,"name":"more"}}]'),
    ],
)
def test_patches_of_each_kind(mesh: Mesh, namespace: str, kind: str, patch: str) -> None:
    mesh.apply(service("web"), namespace=namespace)
    mesh.kubectl("-n", namespace, "patch", "service", "web", "--type", kind, "-p", patch)
    ports = mesh.kubectl("-n", namespace, "get", "service", "web", "-o", "jsonpath={.spec.ports[*].port}").stdout
    assert sorted(ports.split()) == ["80", "81"]


def test_apply_changes_only_what_differs_and_delete_waits(mesh: Mesh, namespace: str) -> None:
    document = yaml.safe_dump(service("web"))
    seen = [mesh.kubectl("-n", namespace, "apply", "-f", "-", stdin=document).stdout.split()[-1] for _ in range(2)]
    changed = yaml.safe_dump(service("web", port=82))
    seen.append(mesh.kubectl("-n", namespace, "apply", "-f", "-", stdin=changed).stdout.split()[-1])
    assert seen == ["created", "unchanged", "configured"]
    assert mesh.kubectl("-n", namespace, "diff", "-f", "-", stdin=changed, check=False).returncode == 0
    mesh.kubectl("-n", namespace, "delete", "-f", "-", stdin=changed)
    assert mesh.get("service", "web", namespace) is None


def test_exec_carries_input_output_and_status(mesh: Mesh, namespace: str) -> None:
    mesh.apply(pod("web", sidecar=True), namespace=namespace)
    mesh.wait_ready(namespace, "web")
    copied = mesh.kubectl("-n", namespace, "exec", "-i", "web", "-c", "app", "--", "cat", stdin="to and fro\n" * 5000)
    assert copied.stdout == "to and fro\n" * 5000
    failed = mesh.exec(namespace, "web", "sh", "-c", "echo out; echo err >&2; exit 7", container="app")
    assert (failed.returncode, failed.stdout, failed.stderr.splitlines()[0]) == (7, "out\n", "err")
    unknown = mesh.exec(namespace, "web", "true", container="nothing")
    assert unknown.returncode != 0
    assert "nothing" in unknown.stderr


def test_describe_shows_services_and_policies(mesh: Mesh, namespace: str) -> None:
    mesh.apply(service("web"), pod("web", sidecar=False), peer_authentication("STRICT"), namespace=namespace)
    mesh.wait_ready(namespace, "web")
    found = mesh.get("pod", "web", namespace)
    assert found is not None
    address = found["status"]["podIP"]
    poll(lambda: f"{address}:8080" in mesh.kubectl("-n", namespace, "describe", "service", "web").stdout)
    assert "STRICT" in mesh.kubectl("-n", namespace, "describe", "peerauthentication", "default").stdout
    assert "InternalIP" in mesh.kubectl("describe", "node", "lateen").stdout


def test_logs_show_the_app_and_the_proxy(mesh: Mesh, namespace: str) -> None:
    command = ["python3", "-c", "import time; print('hello from the app', flush=True); time.sleep(1000)"]
    mesh.apply(pod("talk", sidecar=True, command=command), namespace=namespace)
    mesh.wait_ready(namespace, "talk")
    poll(lambda: mesh.kubectl("-n", namespace, "logs", "talk", "-c", "app").stdout == "hello from the app\n")
    assert mesh.kubectl("-n", namespace, "logs", "talk", "-c", "istio-proxy").stdout
    assert mesh.kubectl("-n", namespace, "logs", "talk", "--tail=1", "--timestamps").stdout.count("\n") == 1
    assert mesh.kubectl_path
    follow = [mesh.kubectl_path, "-n", namespace, "logs", "-f", "talk", "-c", "app"]
    with subprocess.Popen(follow, env=mesh.environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout
        assert following.stdout.readline() == "hello from the app\n"
        mesh.kubectl("-n", namespace, "delete", "pod", "talk")
        assert following.wait(30) == 0, "the log ends with the pod"


def test_a_deleted_namespace_takes_its_objects_along(mesh: Mesh) -> None:
    mesh.kubectl("create", "namespace", "short-lived")
    mesh.apply(service("web"), pod("web", sidecar=False), namespace="short-lived")
    mesh.wait_ready("short-lived", "web")
    mesh.kubectl("delete", "namespace", "short-lived", "--wait", "--timeout=40s")
    assert mesh.get("namespace", "short-lived") is None
