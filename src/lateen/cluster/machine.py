"""Can this machine run pods? The probe does the real thing in a child process and names the step that fails.

Flow: `probe()` -> child: user namespace, mounts, proc, links, rules, as a pod would make them -> `MachineReport`
(the steps done, and for the failed one errno, what is likely in the way, and the remedies).
Invariants: standard library only and single-threaded (it runs before the zygote is forked); nothing outlives the
child. The remedies come from what the kernel's own switches say, then from the errno.
Source: user_namespaces(7), Documentation/admin-guide/LSM/apparmor, Docker's seccomp and masked-path defaults.
"""

import errno
import json
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from lateen.cluster.network import interception, links, nft
from lateen.cluster.network.netlink import NETLINK_ROUTE, NetlinkSocket
from lateen.cluster.sandbox import kernel
from lateen.cluster.sandbox.union import Stash, unite

_MACHINES = ("x86_64", "aarch64")
_SWITCHES = (
    ("user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or an AppArmor profile with `userns,`)",
    ),
    ("user/max_net_namespaces", "0", "sudo sysctl -w user.max_net_namespaces=15000"),
    ("user/max_mnt_namespaces", "0", "sudo sysctl -w user.max_mnt_namespaces=15000"),
    ("user/max_pid_namespaces", "0", "sudo sysctl -w user.max_pid_namespaces=15000"),
)
_IN_CONTAINER = (
    "inside a container: start it with --privileged, or with --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
)


@dataclass(frozen=True)
class MachineReport:
    """What the probe found: the steps done in order, and the first that failed, if any."""

    steps: tuple[str, ...]
    failed: str | None = None
    number: int = 0
    remedies: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether pods can run here."""
        return self.failed is None

    @property
    def message(self) -> str:
        """One sentence for the user."""
        if self.failed is None:
            return "this machine can run pods"
        name = errno.errorcode.get(self.number, str(self.number))
        return f"this machine cannot run pods: the step `{self.failed}` failed with {name} ({os.strerror(self.number)})"

    @property
    def fix(self) -> str | None:
        """The remedies, most likely first."""
        return "; or ".join(self.remedies) or None


def probe() -> MachineReport:
    """Return whether this machine can run pods, from a child that did what a pod needs."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        found = f"{sys.platform} on {platform.machine()}"
        return MachineReport((), f"find Linux on {' or '.join(_MACHINES)} ({found})", errno.ENOSYS)
    directory = tempfile.mkdtemp(prefix="lateen-probe-")
    try:
        done, failed, number = _run_child(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if failed is None:
        return MachineReport(tuple(done))
    return MachineReport(tuple(done), failed, number, find_remedies(failed, number))


def _run_child(directory: str) -> tuple[list[str], str | None, int]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            _Steps(write, directory).run()
        finally:
            os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read, "rb") as pipe:
            lines = [json.loads(line) for line in pipe]
    finally:
        # Whoever is interrupted here leaves no namespace behind either: the child ends when it has nobody to tell.
        os.waitpid(pid, 0)
    done = [line["done"] for line in lines if "done" in line]
    refused = next((line for line in lines if "failed" in line), None)
    if refused is not None:
        return done, refused["failed"], refused["errno"]
    if not any("end" in line for line in lines):
        return done, f"run the probe (after `{done[-1] if done else 'start'}`)", errno.EIO
    return done, None, 0


class _Failed(Exception):
    pass


class _Steps:
    """The child's work; every step is told before the next begins."""

    def __init__(self, told: int, directory: str) -> None:
        self._told = told
        self._directory = directory

    def run(self) -> None:
        kernel.die_with_parent(signal.SIGKILL)
        # A process that changed its user is not, and could not write its own maps.
        kernel.set_dumpable(dumpable=True)
        try:
            self._run_node()
            self._tell(end=True)
        except _Failed:
            pass

    def _tell(self, **message: object) -> None:
        os.write(self._told, json.dumps(message).encode() + b"\n")

    def _do(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self._tell(failed=name, errno=error.errno or errno.EIO)
            raise _Failed from error
        self._tell(done=name)

    def _run_node(self) -> None:
        user, group = os.geteuid(), os.getegid()
        self._do("create a user namespace", lambda: kernel.unshare(kernel.CLONE_NEWUSER))
        self._do("map the user", lambda: kernel.map_user(0, 0, user, group))
        self._do("create a pid namespace", lambda: kernel.unshare(kernel.CLONE_NEWPID))
        self._do("create a network namespace", lambda: kernel.unshare(kernel.CLONE_NEWNET))
        self._do("create a mount namespace", lambda: kernel.unshare(kernel.CLONE_NEWNS))
        self._in_child(self._run_init)

    def _in_child(self, action: Callable[[], None]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                action()
            except _Failed:
                os._exit(1)
            os._exit(0)
        if os.waitpid(pid, 0)[1] != 0:
            raise _Failed

    def _run_init(self) -> None:
        private = kernel.MS_REC | kernel.MS_PRIVATE
        self._do("make mounts private", lambda: kernel.mount("none", "/", None, private))
        self._do("mount proc", lambda: kernel.mount("proc", "/proc", "proc"))
        self._do("mount tmpfs", lambda: kernel.mount("tmpfs", self._directory, "tmpfs"))
        self._do("bind /usr read-only", self._bind)
        self._do("mount overlay", self._overlay)
        self._do("turn on forwarding", lambda: kernel.set_kernel_parameter("net/ipv4/ip_forward", "1"))
        address = ("10.244.0.1", 16, ())
        self._do("create a bridge", lambda: links.configure_node("probe0", *address))
        self._do("create a veth pair", self._connect)
        self._do("install nftables rules", self._install_rules)
        self._do("create a nested user namespace", self._nest)

    def _bind(self) -> None:
        target = f"{self._directory}/usr"
        os.mkdir(target)
        kernel.mount("/usr", target, None, kernel.MS_BIND | kernel.MS_REC)
        kernel.restrict_mount(target, kernel.MOUNT_ATTR_RDONLY)

    def _overlay(self) -> None:
        os.mkdir(f"{self._directory}/commands")
        target, stash = f"{self._directory}/usr/bin", f"{self._directory}/lower"
        unite(f"{self._directory}/commands", target, target, Stash(stash, stash))

    def _connect(self) -> None:
        with NetlinkSocket(NETLINK_ROUTE) as netlink:
            links.create_pair(netlink, "probe1", "probe0", "probe2", 1)

    def _install_rules(self) -> None:
        rules = interception.build_rules(interception.Interception())
        rules.add_set("probe", 1, 4, data_bytes=8, flags=0)
        address = socket.inet_aton("10.244.0.2") + b"\x00\x50\0\0"
        rules.add_elements("probe", [nft.Element(b"\0\0\0\0", address)])
        rules.add_chain("service")
        rules.add_rule("service", nft.load_random(1), nft.look_up("probe", to=9), nft.destination_nat(9, 10))
        nft.apply(*rules.encode())

    def _nest(self) -> None:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
        kernel.map_user(0, 0, 0, 0)


def find_remedies(failed: str, number: int) -> tuple[str, ...]:
    """Return what may help against this failure on this machine, most likely first."""
    remedies = [remedy for name, value, remedy in _SWITCHES if _read_switch(name) == value]
    if number in (errno.EOPNOTSUPP, errno.ENODEV, errno.EPROTONOSUPPORT, errno.ENOENT, errno.EAFNOSUPPORT):
        remedies.append("sudo modprobe -a bridge veth overlay nf_tables nft_nat nft_redir nft_masq nft_numgen")
    if number == errno.ENOSPC and not remedies:
        remedies.append("sudo sysctl -w user.max_user_namespaces=15000 (this user has used up its namespaces)")
    if number in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL):
        if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
            remedies.insert(0, _IN_CONTAINER)
        elif not remedies:
            remedies.append(_IN_CONTAINER)
    if os.geteuid() != 0:
        remedies.append("run as root")
    return tuple(remedies)


def _read_switch(name: str) -> str | None:
    try:
        with open(f"/proc/sys/{name}", "rb") as file:
            return file.read().decode().strip()
    except OSError:
        return None
