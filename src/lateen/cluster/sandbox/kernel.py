"""The system calls that Python's standard library (3.11) lacks, one function each, raising OSError.

Invariants: called only in single-threaded processes (`unshare(CLONE_NEWUSER)` is EINVAL otherwise).
Source: unshare(2), mount(2), mount_setattr(2), open_tree(2), openat2(2), pivot_root(2), prctl(2), capabilities(7),
user_namespaces(7).
"""

import ctypes
import os
import platform
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

CAP_NET_ADMIN = 12
_LAST_CAPABILITY = 63
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_CAPBSET_DROP = 1, 4, 15, 24
_STAT_ARGUMENTS_START = 47  # field numbers of proc(5) less one
_STAT_ARGUMENTS_END = 48
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 38, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_OPEN_TREE_CLONE, _MOVE_MOUNT_FROM_DESCRIPTOR, _RESOLVE_IN_ROOT = 1, 4, 0x10

# System calls added since Linux 5.1 have one number everywhere; older ones differ on x86-64.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_OPENAT2, _SYS_MOUNT_SETATTR = 428, 429, 437, 442
_SYS_PIVOT_ROOT = 155 if platform.machine() == "x86_64" else 41

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str = "") -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what or None)


def unshare(flags: int) -> None:
    """Leave the caller's namespaces for new ones (NEWPID: for children only)."""
    _check(_libc.unshare(flags))


def enter_namespace(descriptor: int, flags: int) -> None:
    """Enter the namespace behind a descriptor."""
    _check(_libc.setns(descriptor, flags))


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str | None = None) -> None:
    """Mount, bind (`MS_BIND`) or change propagation."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            options.encode() if options else None,
        ),
        target,
    )


def unmount(target: str) -> None:
    """Detach a mount and all below it."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), target)


def _call(number: int, *arguments: object) -> int:
    """Make a system call with fixed-width arguments; returns its result, -1 with errno set if it failed."""
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *converted)
    return result


def restrict_mount(target: str | int, attributes: int, *, recursive: bool = True) -> None:
    """Add attributes (read-only, nosuid, nodev) to a mount (path or descriptor), and by default to those below it."""
    structure = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0))
    flags = _AT_RECURSIVE if recursive else 0
    if isinstance(target, int):
        _check(_call(_SYS_MOUNT_SETATTR, target, b"", flags | _AT_EMPTY_PATH, structure, 32))
    else:
        _check(_call(_SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), flags, structure, 32), target)


def open_in_root(directory: int, path: str) -> int:
    """Open (O_PATH) what `path` means if `directory` were the root: no symbolic link leads out of it."""
    how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT))
    descriptor = _call(_SYS_OPENAT2, directory, os.fsencode(path), how, 24)
    _check(descriptor, path)
    return descriptor


def clone_mount(descriptor: int) -> int:
    """Return a detached copy of the mounts at an open file or directory."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH
    cloned = _call(_SYS_OPEN_TREE, descriptor, b"", flags)
    _check(cloned)
    return cloned


def attach_mount(descriptor: int, target: str) -> None:
    """Mount a detached copy at `target`."""
    arguments = (descriptor, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_FROM_DESCRIPTOR)
    _check(_call(_SYS_MOVE_MOUNT, *arguments), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` (a mount) the root of the caller's mount namespace."""
    _check(_call(_SYS_PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old)), new_root)


def set_host_name(name: str) -> None:
    """Set the host name of the caller's UTS namespace."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))))


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(ctypes.c_int(option), *padded))


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send the caller a signal when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def set_dumpable(*, dumpable: bool) -> None:
    """Allow or forbid other processes of the user to read this one's memory and descriptors."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def set_title(title: str) -> None:
    """Replace what `ps` shows: the daemon's command line would tell a pod where the state directory is."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    # The two fields before the closing parenthesis (pid, name) are cut off.
    start, end = int(fields[_STAT_ARGUMENTS_START - 2]), int(fields[_STAT_ARGUMENTS_END - 2])
    encoded = title.encode()[: end - start - 1]
    ctypes.memmove(start, encoded + b"\0" * (end - start - len(encoded)), end - start)
    name = ctypes.create_string_buffer(b"lateen")
    _check(_libc.prctl(ctypes.c_int(_PR_SET_NAME), name, 0, 0, 0))


def forbid_new_privileges() -> None:
    """Make set-user-id programs and file capabilities powerless for the caller and its children."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def keep_capabilities(kept: tuple[int, ...]) -> None:
    """Give up every capability but `kept`, for good: bounding set too; `kept` survive execve."""
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(_LAST_CAPABILITY + 1):
        if capability not in kept:
            try:
                _prctl(_PR_CAPBSET_DROP, capability)
            except OSError:
                break  # EINVAL: the kernel knows no capability from here on
    bits = sum(1 << capability for capability in kept)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", low, low, low, high, high, high))
    _check(_libc.capset(header, sets))
    for capability in kept:
        _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, capability)


def map_user(inside_user: int, inside_group: int, outside_user: int, outside_group: int) -> None:
    """Write the caller's user and group maps (one id each) after it unshared its user namespace."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inside_user} {outside_user} 1")
    _write("/proc/self/gid_map", f"{inside_group} {outside_group} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def limit_processes(count: int) -> None:
    """Bound the processes of the caller's pid namespace; kernels before 6.14 have one bound for all, left alone."""
    major, minor = platform.release().split(".")[:2]
    if (int(major), int("".join(filter(str.isdigit, minor[:3])))) >= (6, 14):
        set_kernel_parameter("kernel/pid_max", str(count))


def set_kernel_parameter(name: str, value: str) -> bool:
    """Write `/proc/sys/<name>`; False when this kernel has no such parameter."""
    try:
        _write(f"/proc/sys/{name}", value)
    except FileNotFoundError:
        return False
    return True
