"""What an app in a pod cannot find, see or do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Mesh, pod, service_account

FIND_FILE = """
import os, sys
name = sys.argv[1]
for folder, folders, files in os.walk("/", onerror=lambda error: None):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys")]
    for file in files + folders:
        if file == name:
            print(os.path.join(folder, file))
"""
MARK = """
import errno, socket
try:
    socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1337)
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    print("marked")
"""
PROCESSES = "import os; print(*[open(f'/proc/{p}/cmdline').read().replace(chr(0), ' ') for p in os.listdir('/proc') if p.isdigit()], sep='\\n')"
SOCKETS = """
import os, stat
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys")]
    for file in files:
        path = os.path.join(folder, file)
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                print(path)
        except OSError:
            pass
"""


@pytest.fixture
def inside(mesh: Mesh, namespace: str) -> str:
    """A namespace with two pods with sidecars, `one` and `two`."""
    mesh.apply(service_account("one"), namespace=namespace)
    mesh.apply(pod("one", sidecar=True, service_account="one"), pod("two", sidecar=True), namespace=namespace)
    mesh.wait_ready(namespace, "one", "two")
    return namespace


def output(mesh: Mesh, namespace: str, script: str, *arguments: str) -> str:
    """What a Python script prints inside the app's container of pod `one`."""
    done = mesh.exec(namespace, "one", "python3", "-c", script, *arguments, container="app")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_hosts_files_are_not_there(mesh: Mesh, inside: str, tmp_path: Path) -> None:
    canary = Path(tmp_path / "canary-of-the-host")
    canary.write_text("secret")
    for name in (canary.name, "cluster.db", "kubeconfig", mesh.state.path.name, mesh.state.runtime.name):
        assert output(mesh, inside, FIND_FILE, name) == "", name
    home = Path(os.path.expanduser("~"))
    listed = output(
        mesh,
        inside,
        "import os, sys; print(os.listdir(sys.argv[1]) if os.path.isdir(sys.argv[1]) else [])",
        str(home),
    )
    hidden = {path.name for path in home.iterdir() if path.name.startswith(".bash") or path.name in (".ssh", ".cache")}
    assert not hidden & set(listed.strip("[]").replace("'", "").split(", "))


def test_the_app_sees_its_own_processes_only(mesh: Mesh, inside: str) -> None:
    processes = output(mesh, inside, PROCESSES)
    assert "envoy" not in processes
    assert "discovery" not in processes
    assert "sample" in processes or "echo" in processes


def test_no_unix_socket_leads_out(mesh: Mesh, inside: str) -> None:
    assert output(mesh, inside, SOCKETS) == ""


def test_an_app_cannot_mark_its_sockets_to_pass_by_the_sidecar(mesh: Mesh, inside: str) -> None:
    assert output(mesh, inside, MARK) == "EPERM"


def test_an_app_cannot_change_the_rules_or_links_of_its_pod(mesh: Mesh, inside: str) -> None:
    script = "import socket; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12); s.bind((0, 0)); print(open('/proc/self/status').read())"
    status = output(mesh, inside, script)
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


def test_a_token_cannot_ask_for_another_identity(mesh: Mesh, inside: str) -> None:
    paths = output(mesh, inside, FIND_FILE, "istio-token")
    assert paths == "", "the token for the mesh's certificates belongs to istio-proxy alone"
