"""What an app in a pod cannot find, see or do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Mesh, pod, service_account

FIND_FILE = """
import os, sys
names = sys.argv[1:]
for folder, folders, files in os.walk("/", onerror=lambda error: None):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys")]
    for file in files + folders:
        if file in names:
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
# Programs of the processes whose memory can be opened.
MEMORIES = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/mem", "rb"), open(f"/proc/{pid}/maps") as maps:
            if maps.read():
                print(pid, open(f"/proc/{pid}/cmdline").read().split(chr(0))[0])
    except OSError:
        pass
"""
# NFT_MSG_DELTABLE for all tables, in a batch: what `nft flush ruleset` sends.
FLUSH_RULES = """
import errno, socket, struct
def message(kind, flags, body):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body
batch = struct.pack("=BBH", 0, 0, 10 << 8)
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as link:
    link.bind((0, 0))
    link.settimeout(5)
    link.send(message(16, 1, batch) + message(10 << 8 | 2, 5, struct.pack("=BBH", 0, 0, 0)) + message(17, 1, batch))
    code = -struct.unpack_from("=i", link.recv(4096), 16)[0]
print(errno.errorcode.get(code, code))
"""
SOCKETS = """
import os, stat
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys", "/usr")]
    for file in files:
        path = os.path.join(folder, file)
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                print(path)
        except OSError:
            pass
"""


@pytest.fixture(scope="module")
def inside(mesh: Mesh, shared_namespace: str) -> str:
    """A namespace with two pods with sidecars, `one` and `two`, of which the second has left traces."""
    other = pod("two", sidecar=True, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    other["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    mesh.apply(service_account("one"), namespace=shared_namespace)
    mesh.apply(pod("one", sidecar=True, service_account="one"), other, namespace=shared_namespace)
    mesh.wait_ready(shared_namespace, "one", "two")
    leave = "touch /tmp/canary-of-a-pod /data/canary-of-a-volume; nohup sleep 86399 >/dev/null 2>&1 &"
    assert mesh.exec(shared_namespace, "two", "sh", "-c", leave, container="app").returncode == 0
    return shared_namespace


def output(mesh: Mesh, namespace: str, script: str, *arguments: str) -> str:
    """What a Python script prints inside the app's container of pod `one`."""
    done = mesh.exec(namespace, "one", "python3", "-c", script, *arguments, container="app")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_hosts_files_are_not_there(mesh: Mesh, inside: str, tmp_path: Path) -> None:
    canary = Path(tmp_path / "canary-of-the-host")
    canary.write_text("secret")
    names = (
        canary.name, "cluster.db", "kubeconfig", mesh.state.path.name, mesh.state.runtime.name, "istio-token", "shadow",
        "canary-of-a-pod", "canary-of-a-volume", "bootstrap.json", "ads.sock",
    )  # fmt: skip
    assert output(mesh, inside, FIND_FILE, *names) == ""
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
    for other in ("envoy", "discovery", "86399", "lateen.cluster", str(mesh.state.path)):
        assert other not in processes
    assert "sample" in processes


def test_no_memory_but_its_own_can_be_read(mesh: Mesh, inside: str) -> None:
    """Envoy's least of all: it holds the pod's private key."""
    programs = output(mesh, inside, MEMORIES).split("\n")
    assert len(programs) == 2, "the app and the script itself"
    assert all("python3" in program for program in programs)


def test_no_unix_socket_leads_out(mesh: Mesh, inside: str) -> None:
    assert output(mesh, inside, SOCKETS) == ""
    assert output(mesh, inside, "print(open('/proc/net/unix').read().count('@'))") == "0"


def test_envoy_has_one_socket_its_pods_own(mesh: Mesh, inside: str) -> None:
    done = mesh.exec(inside, "one", "python3", "-c", SOCKETS, container="istio-proxy")
    assert done.stdout.split() == ["/run/lateen/ads.sock"], done.stderr


def test_an_app_cannot_mark_its_sockets_to_pass_by_the_sidecar(mesh: Mesh, inside: str) -> None:
    assert output(mesh, inside, MARK) == "EPERM"


def test_an_app_has_no_privilege_to_change_rules_or_links(mesh: Mesh, inside: str) -> None:
    status = output(mesh, inside, "print(open('/proc/self/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"
    assert output(mesh, inside, FLUSH_RULES) == "EPERM"
