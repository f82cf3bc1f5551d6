"""What the machine runs, read from /proc: who descends from whom, and in which namespaces."""

from __future__ import annotations

import os
from pathlib import Path

KINDS = ("user", "pid", "mnt", "net", "uts", "ipc", "cgroup")


def pids_of(text: str) -> list[int]:
    """Processes whose command line contains a text."""
    return [pid for pid in _pids() if text in title_of(pid)]


def title_of(pid: int) -> str:
    """The command line of a process, '' when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def descendants(root: int, *, zombies: bool = False) -> dict[int, str]:
    """A process and all below it: pid -> start time, which tells it from a later one of the same number."""
    table = _table(zombies=zombies)
    found = {root} & table.keys()
    while more := {pid for pid, (parent, _) in table.items() if parent in found} - found:
        found |= more
    return {pid: table[pid][1] for pid in found}


def namespaces_of(root: int) -> set[str]:
    """Namespaces of a process and all below it that are not ours."""
    ours = _namespaces(os.getpid())
    return {namespace for pid in descendants(root) for namespace in _namespaces(pid)} - ours


def orphans_in(namespaces: set[str]) -> list[int]:
    """Processes in one of these namespaces that nobody owns.

    The kernel uses the number of a namespace again, so one whose processes descend from somebody outside is another.
    """
    table = _table()
    held = {pid for pid in table if _namespaces(pid) & namespaces}

    def top(pid: int) -> int:
        while (parent := table[pid][0]) > 1 and parent in table:
            pid = parent
        return pid

    return [pid for pid in held if top(pid) in held]


def _table(*, zombies: bool = False) -> dict[int, tuple[int, str]]:
    """Every process: pid -> parent, start time."""
    found = {}
    for pid in _pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if zombies or fields[0] != "Z":
            found[pid] = int(fields[1]), fields[19]
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _namespaces(pid: int) -> set[str]:
    found = set()
    for kind in KINDS:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            continue
    return found
