"""A container's root file system, built in the container's own mount namespace.

Flow: `RootSpec` (JSON from the node) -> tmpfs, read-only /usr, own /etc /proc /dev, an overlay of the image's
commands on /usr/bin, the volumes -> pivot_root -> nothing else of the host is left.
Invariants: everything of the host is read-only, nosuid and nodev; what is writable is the container's own tmpfs and
its volumes. /proc belongs to the container's pid namespace, its switches are read-only.
Source: pivot_root(2), OCI runtime specification (default mounts, masked and read-only paths). Runs as pid 1 of the
container, so /proc can be mounted; standard library only, and nothing may be imported after the pivot.
"""

import errno
import os
import stat
from typing import Any

from lateen.cluster.sandbox import kernel
from lateen.cluster.sandbox.union import Stash, unite

HOST_ATTRIBUTES = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_VOLUME_ATTRIBUTES = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_STASH = "/opt/lateen/lower"
_USR_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC_FROM_HOST = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
)
_DIRECTORIES = (
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
)
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_READ_ONLY_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_MASKED_PROC = ("acpi", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list")
_STAGE = ".stage"

Spec = dict[str, Any]


class StepFailed(Exception):
    """One step of making a process or its root failed; `step` names it for the user."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(f"{step}: {error.strerror or error}")
        self.step = step
        self.number = error.errno or errno.EIO


class Root:
    """Builds one root file system at a mount point and makes it the process's root."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._path: str = spec["mount_point"]
        self._stages = 0
        self._volumes: list[tuple[int, str]] = []

    def enter(self) -> None:
        """Build and pivot; raises StepFailed."""
        steps = (
            ("mount a tmpfs as the container's root", self._mount_root),
            ("bind /usr read-only", self._bind_usr),
            ("overlay the image's commands on /usr/bin", self._overlay_commands),
            ("mount /proc", self._mount_proc),
            ("make /dev", self._make_devices),
            ("make /etc", self._make_etc),
            ("open the volumes", self._open_volumes),
            ("pivot_root", self._pivot),
            ("mount the volumes", self._mount_volumes),
            ("finish the root", self._finish),
        )
        for name, step in steps:
            try:
                step()
            except OSError as error:
                raise StepFailed(f"{name} ({error.filename})" if error.filename else name, error) from error
            except ValueError as error:
                # A null character in a path, where the API admits any text.
                raise StepFailed(f"{name} ({error})", OSError(errno.EINVAL, str(error))) from error

    def _at(self, path: str) -> str:
        return os.path.join(self._path, path.lstrip("/"))

    def _mount_root(self) -> None:
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("tmpfs", self._path, "tmpfs", flags, f"mode=0755,size={self._spec['size_bytes']}")
        for name, mode in _DIRECTORIES:
            os.makedirs(self._at(name), exist_ok=True)
            os.chmod(self._at(name), mode)
        os.symlink("../run", self._at("var/run"))
        os.mkdir(self._at(_STAGE))
        kernel.mount("tmpfs", self._at(_STAGE), "tmpfs", flags, "mode=0700")

    def _bind_usr(self) -> None:
        _bind("/usr", self._at("usr"), HOST_ATTRIBUTES)
        for name in _USR_LINKS:
            source = "/" + name
            if os.path.islink(source):
                os.symlink(os.readlink(source).lstrip("/"), self._at(name))
            elif os.path.isdir(source):
                os.mkdir(self._at(name))
                _bind(source, self._at(name), HOST_ATTRIBUTES)

    def _overlay_commands(self) -> None:
        if self._spec.get("commands"):
            directory, stash = self._at("usr/bin"), f"{_STASH}/commands"
            unite(self._spec["commands"], directory, directory, Stash(self._at(stash), stash))

    def _mount_proc(self) -> None:
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("proc", self._at("proc"), "proc", flags)
        for name in _READ_ONLY_PROC:
            if os.path.exists(self._at(f"proc/{name}")):
                _bind(self._at(f"proc/{name}"), self._at(f"proc/{name}"), kernel.MOUNT_ATTR_RDONLY)
        for name in _MASKED_PROC:
            path = self._at(f"proc/{name}")
            if os.path.isdir(path):
                kernel.mount("tmpfs", path, "tmpfs", flags | kernel.MS_RDONLY, "size=0,mode=0555")
            elif os.path.exists(path):
                kernel.mount("/dev/null", path, None, kernel.MS_BIND)

    def _make_devices(self) -> None:
        dev = self._at("dev")
        os.mkdir(dev)
        kernel.mount("tmpfs", dev, "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC, "mode=0755,size=64k")
        for name in _DEVICES:
            _touch(f"{dev}/{name}")
            kernel.mount(f"/dev/{name}", f"{dev}/{name}", None, kernel.MS_BIND)
        for name in ("pts", "shm"):
            os.mkdir(f"{dev}/{name}")
        flags = kernel.MS_NOSUID | kernel.MS_NOEXEC
        kernel.mount("devpts", f"{dev}/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")
        kernel.mount("tmpfs", f"{dev}/shm", "tmpfs", flags | kernel.MS_NODEV, "mode=1777,size=64m")
        links = (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"))
        _touch(f"{dev}/termination-log")
        os.chmod(f"{dev}/termination-log", 0o666)
        for name, target in (*links, ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
            os.symlink(target, f"{dev}/{name}")

    def _make_etc(self) -> None:
        for name in _ETC_FROM_HOST:
            source = os.path.realpath(f"/etc/{name}")
            if os.path.exists(source) and not source.startswith("/usr/"):
                path = self._at(f"etc/{name}")
                _make_mount_point(path, directory=os.path.isdir(source))
                _bind(source, path, HOST_ATTRIBUTES)
            elif os.path.exists(source):
                os.makedirs(os.path.dirname(self._at(f"etc/{name}")), exist_ok=True)
                os.symlink(source, self._at(f"etc/{name}"))
        os.symlink("/proc/self/mounts", self._at("etc/mtab"))
        for path, text in self._spec["files"].items():
            os.makedirs(os.path.dirname(self._at(path)), exist_ok=True)
            with open(self._at(path), "w", encoding="utf-8") as file:
                file.write(text)

    def _open_volumes(self) -> None:
        """Take hold of every volume while the host's file system is in reach."""
        # Shallow paths first, so that a volume may be mounted inside another one.
        for bind in sorted(self._spec["binds"], key=lambda bind: bind["target"].rstrip("/").count("/")):
            found = os.open(bind["source"], os.O_PATH | os.O_CLOEXEC)
            if bind.get("sub_path"):
                whole = found
                found = _open_sub_path(whole, bind["sub_path"])
                os.close(whole)
            volume = kernel.clone_mount(found)
            os.close(found)
            kernel.restrict_mount(volume, HOST_ATTRIBUTES if bind["read_only"] else _VOLUME_ATTRIBUTES)
            self._volumes.append((volume, os.path.normpath(bind["target"])))

    def _mount_volumes(self) -> None:
        """Mount them once the container's root is ours: a link that an app made cannot lead to the host."""
        for volume, path in self._volumes:
            directory = stat.S_ISDIR(os.fstat(volume).st_mode)
            if not os.path.exists(path):
                try:
                    _make_mount_point(path, directory=directory)
                except OSError as error:
                    if error.errno != errno.EROFS:
                        raise
                    self._overlay_mount_point(path, directory=directory)
            kernel.attach_mount(volume, path)
            os.close(volume)

    def _overlay_mount_point(self, path: str, *, directory: bool) -> None:
        ancestor = os.path.dirname(path)
        while not os.path.isdir(ancestor):
            ancestor = os.path.dirname(ancestor)
        self._stages += 1
        skeleton = f"/{_STAGE}/{self._stages}"
        _make_mount_point(os.path.join(skeleton, os.path.relpath(path, ancestor)), directory=directory)
        os.chmod(skeleton, 0o755)
        stash = f"{_STASH}/{self._stages}"
        unite(skeleton, ancestor, ancestor, Stash(stash, stash))

    def _pivot(self) -> None:
        os.chdir(self._path)
        kernel.pivot_root(".", ".")
        kernel.unmount(".")
        os.chdir("/")

    def _finish(self) -> None:
        # An overlay keeps its layers alive by itself.
        kernel.unmount(f"/{_STAGE}")
        os.rmdir(f"/{_STAGE}")
        if self._spec.get("read_only"):
            kernel.restrict_mount("/", kernel.MOUNT_ATTR_RDONLY, recursive=False)


def _open_sub_path(volume: int, path: str) -> int:
    """Open a path inside a volume, making the directories that are missing; links cannot lead out of it."""
    try:
        return kernel.open_in_root(volume, path)
    except FileNotFoundError:
        parent, name = os.path.split(os.path.normpath(path))
        above = _open_sub_path(volume, parent) if parent else os.dup(volume)
        try:
            os.mkdir(name, dir_fd=above)
        finally:
            os.close(above)
        return kernel.open_in_root(volume, path)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _make_mount_point(path: str, *, directory: bool) -> None:
    os.makedirs(path if directory else os.path.dirname(path), exist_ok=True)
    if not directory:
        _touch(path)


def _bind(source: str, target: str, attributes: int) -> None:
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.restrict_mount(target, attributes)
