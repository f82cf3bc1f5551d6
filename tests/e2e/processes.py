"""What the machine runs, read from /proc: who descends from whom, and in which namespaces."""

from __future__ import annotations

import os
from pathlib import Path

KINDS = ("user", "pid", "mnt", "net", "uts", "ipc", "cgroup")


def pids_of(text: str) -> list[int]:
    """Processes whose command line contains a text."""
    found = []
    for pid in _pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(pid)
    return found


def descendants(root: int) -> dict[int, str]:
    """A process and all below it: pid -> start time, which tells it from a later one of the same number."""
    parents: dict[int, int] = {}
    started: dict[int, str] = {}
    for pid in _pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[pid], started[pid] = int(fields[1]), fields[19]
    found = {root} & started.keys()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: started[pid] for pid in found}


def namespaces_of(root: int | None = None) -> set[str]:
    """Namespaces of a process and all below it that are not ours; of all processes without a root."""
    ours = {_namespace("self", kind) for kind in KINDS}
    pids = _pids() if root is None else list(descendants(root))
    return {_namespace(str(pid), kind) for pid in pids for kind in KINDS} - ours - {""}


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _namespace(pid: str, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return ""
