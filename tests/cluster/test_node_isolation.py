"""What a program in a pod cannot find, see or do; and that nothing of a pod outlives its node."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from node_pods import RunningNode, run_node, shell

from lateen.testing.poll import until

HOME = os.path.expanduser("~")
SEARCH = """
import os, sys
for folder, folders, files in os.walk("/", onerror=lambda error: None):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/usr")]
    print(*(os.path.join(folder, name) for name in files + folders if name in sys.argv[1:]), sep="\\n", end="")
"""
TRY = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, action):
    try:
        result = action()
    except OSError as error:
        print(name, errno.errorcode[error.errno])
    else:
        print(name, "allowed" if result in (None, 0) else errno.errorcode[ctypes.get_errno()])
def mark():
    socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1337)
def mark_in_new_namespace():
    if libc.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")
    mark()
attempt("mark", mark)
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 6))
attempt("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
attempt("remount", lambda: libc.mount(None, b"/usr", None, 4096 | 32, None))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("hostname", lambda: socket.sethostname("other"))
attempt("usr", lambda: os.open("/usr/bin/new", os.O_CREAT | os.O_WRONLY))
attempt("sysctl", lambda: os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
attempt("trigger", lambda: os.open("/proc/sysrq-trigger", os.O_WRONLY))
attempt("memory", lambda: os.open("/proc/1/mem", os.O_RDONLY))
attempt("root", lambda: os.listdir("/proc/1/root"))
attempt("environ", lambda: open("/proc/1/environ").read())
attempt("trace", lambda: libc.ptrace(16, 1, None, None))
attempt("device", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)))
attempt("namespace", lambda: libc.setns(os.open("/proc/1/ns/net", os.O_RDONLY), 0))
attempt("mark-again", mark_in_new_namespace)
"""
REFUSED = {
    "mark": "EPERM", "raw": "EPERM", "mount": "EPERM", "remount": "EPERM", "chroot": "EPERM", "hostname": "EPERM",
    "usr": "EROFS", "sysctl": "EROFS", "trigger": "EROFS", "memory": "EACCES", "root": "EACCES", "environ": "EACCES",
    "trace": "EPERM", "device": "EPERM", "namespace": "EACCES", "mark-again": "EPERM",
}  # fmt: skip


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    async with run_node(tmp_path / "state-of-the-cluster") as running:
        yield running


async def test_the_host_and_other_pods_are_not_to_be_found(node: RunningNode, tmp_path: Path) -> None:
    (tmp_path / "canary-of-the-host").write_text("secret")
    write = "touch /tmp/canary-of-a-pod /data/canary-of-a-volume; sleep infinity"
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    await node.create("other", shell(write, **mount), volumes=[{"name": "data", "emptyDir": {}}])
    await node.create("nosy", shell("sleep infinity"))
    for name in ("other", "nosy"):
        await node.until_ready(name)
    names = [
        "canary-of-the-host", "canary-of-a-pod", "canary-of-a-volume", "cluster.db", "kubeconfig",
        "state-of-the-cluster", node.state.runtime.name, ".ssh", ".bashrc", ".pyenv", "shadow", "machine-id",
    ]  # fmt: skip
    code, found = await node.execute("nosy", "python3", "-c", SEARCH, *names)
    assert (code, found) == (0, "")
    _code, homes = await node.execute("nosy", "ls", "-A", "/root", "/home", HOME)
    assert "." not in homes.replace("No such file", "").replace("ls:", "").replace(HOME, "")


async def test_processes_are_the_containers_own(node: RunningNode) -> None:
    await node.create("two", shell("sleep 1111", "app"), shell("sleep 2222", "other"))
    await node.until_ready("two")
    script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    _code, seen = await node.execute("two", "sh", "-c", script)
    assert "sleep 1111" in seen
    assert "2222" not in seen and "state-of-the-cluster" not in seen and "lateen.cluster" not in seen


@pytest.mark.parametrize("user", [0, 1000])
async def test_programs_have_no_privilege_and_cannot_get_any(node: RunningNode, user: int) -> None:
    context = {
        "securityContext": {"runAsUser": user, "privileged": True, "capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]}}
    }
    await node.create("tries", {"name": "app", "image": "any", "command": ["sleep", "infinity"], **context})
    await node.until_ready("tries")
    code, output = await node.execute("tries", "python3", "-c", TRY)
    assert code == 0, output
    seen = dict(line.split() for line in output.splitlines())
    if seen["mark-again"] not in ("EPERM", "allowed"):
        seen["mark-again"] = "EPERM"  # no user namespace at all is as good
    if user and seen["device"] == "EACCES":
        seen["device"] = "EPERM"
    if seen["sysctl"] == "EACCES":
        seen["sysctl"] = "EROFS"  # not even root of the pod owns it, where an ordinary user runs the node
    if seen["trigger"] == "ENOENT":
        seen["trigger"] = "EROFS"  # kernels without it
    assert seen == REFUSED
    _code, status = await node.execute("tries", "grep", "-E", "Cap|NoNewPrivs", "/proc/self/status")
    fields = dict(line.split(":\t") for line in status.splitlines())
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"


async def test_a_link_that_an_app_made_does_not_lead_a_mount_to_the_host(node: RunningNode, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    mount = {"name": "shared", "mountPath": "/shared"}
    plant = shell(f"ln -s {outside} /shared/link; ln -s / /shared/up", "plant", volumeMounts=[mount])
    volumes = [{"name": "shared", "emptyDir": {}}, {"name": "other", "emptyDir": {}}]
    below = {"name": "other", "mountPath": "/shared/link/below"}
    part = {"name": "shared", "mountPath": "/part", "subPath": "up/etc"}
    await node.create("link", shell("true", volumeMounts=[mount, below]), initContainers=[plant], volumes=volumes)
    await node.create(
        "part", shell("sleep infinity", volumeMounts=[mount, part]), initContainers=[plant], volumes=volumes
    )
    assert "mount the volumes" in await node.until_event("link", "Failed")
    assert list(outside.iterdir()) == [], "the link was followed inside the container's root, where it leads nowhere"
    await node.until_ready("part")
    assert (await node.execute("part", "ls", "/part"))[1] == "", "a new directory of the volume, not the host's /etc"


async def test_pods_have_no_ipv6_and_a_resolver_of_the_cluster(node: RunningNode) -> None:
    await node.create("net", shell("sleep infinity"))
    await node.until_ready("net")
    _code, output = await node.execute(
        "net", "sh", "-c", "cat /proc/net/if_inet6; cat /etc/resolv.conf /etc/nsswitch.conf"
    )
    assert output.splitlines()[:3] == [
        "nameserver 10.96.0.10",
        "search default.svc.cluster.local svc.cluster.local cluster.local",
        "options ndots:5",
    ]
    assert "hosts: files dns" in output


DAEMON = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from node_pods import run_node, shell
async def main():
    async with run_node(Path(sys.argv[1])) as node:
        await node.create("left", shell("sleep 86321"))
        await node.until_ready("left")
        print("up", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def find_processes(word: str) -> list[int]:
    """Pids whose command line has the word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def find_descendants(pid: int) -> set[int]:
    """Pids below a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {pid}


def are_alive(pids: set[int]) -> bool:
    """Whether any of the processes exists."""
    return any(Path(f"/proc/{pid}").exists() for pid in pids)


def network_namespaces(pids: set[int]) -> set[str]:
    """The network namespaces of processes; the zygote's own is hidden from an ordinary user."""
    found = set()
    for pid in pids:
        with contextlib.suppress(PermissionError):
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
    return found


def read_mounts() -> str:
    """This process's mounts."""
    return Path("/proc/self/mountinfo").read_text()


def test_kill_9_of_the_daemon_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DAEMON, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout is not None and daemon.stdout.readline() == b"up\n"
            below = find_descendants(daemon.pid)
            assert len(below) >= 4, "zygote, node-init, pod-init, container-init, app"
        finally:
            daemon.send_signal(signal.SIGKILL)
    asyncio.run(until(lambda: not are_alive(below), what="every process has ended"))


async def test_a_stopped_node_leaves_no_process_mount_or_namespace(tmp_path: Path) -> None:
    mounts = read_mounts()
    async with run_node(tmp_path) as node:
        await node.create("left", shell("sleep 86322"))
        await node.until_ready("left")
        below = find_descendants(os.getpid())
        assert len(network_namespaces(below)) == 2, "the node's and the pod's"
    assert not are_alive(below)
    assert not find_processes("86322")
    assert read_mounts() == mounts
    assert os.listdir(node.state.runtime / "pods") == []


UNPRIVILEGED = """
import asyncio, json, os, sys
from lateen.cluster.machine import probe
from lateen.cluster.zygote import fork_zygote
from lateen.cluster.node.sandbox import NodeNamespace
import concurrent.futures.thread, encodings.idna
directory = sys.argv[1]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
zygote = fork_zygote()
async def main():
    node = NodeNamespace(zygote)
    await node.wait_ready()
    ended = asyncio.get_running_loop().create_future()
    sandbox = await node.create_sandbox("u", "host", "10.244.0.9", lambda key, code, text: ended.set_result(code))
    process = dict(arguments=["sh", "-c", "id -u; hostname"], environment={"PATH": "/usr/bin:/bin"}, directory="/",
                   user=1000, group=1000, capabilities=[])
    root = dict(mount_point=directory + "/root", size_bytes="8m", commands="", files={}, binds=[], read_only=False)
    log = dict(directory=directory + "/log", name="0.log")
    await sandbox.start("a/0", dict(process=process, root=root, log=log, termination_log="/dev/termination-log"))
    code = await ended
    text = open(directory + "/log/0.log").read().splitlines()
    await node.stop()
    print(json.dumps([probe().ok, code, [line.split(" ", 3)[3] for line in text]]))
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="this test run is that of an ordinary user already")
def test_an_ordinary_user_runs_pods_too() -> None:
    directory = Path(f"/tmp/lateen-test-{os.getpid()}")
    (directory / "root").mkdir(parents=True)
    try:
        for each in (directory, directory / "root"):
            os.chown(each, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(directory)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        subprocess.run(["rm", "-rf", str(directory)], check=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, 0, ["1000", "host"]]
