"""What `lateen up` says when the daemon cannot go on: one message that names the part, an exit code, no traceback."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lateen.base.errors import DataError, PermissionDeniedError, UnavailableError
from lateen.cluster.state import StateDir, find_running

UP = [sys.executable, "-m", "lateen.cli.main", "up", "--ports", "auto", "--state"]


def write(name: str, content: bytes = b"garbage") -> Callable[[Path], None]:
    """A file of the state directory with this content."""

    def damage(state: Path) -> None:
        (state / name).parent.mkdir(exist_ok=True)
        (state / name).write_bytes(content)

    return damage


def make_directory(name: str) -> Callable[[Path], None]:
    """A directory where a file of the state directory should be."""
    return lambda state: (state / name).mkdir(parents=True)


def make_other_database(state: Path) -> None:
    """A database with other columns."""
    with sqlite3.connect(state / "cluster.db") as database:
        database.execute("CREATE TABLE revisions (something)")
    database.close()


@pytest.mark.parametrize(
    ("damage", "named", "code"),
    [
        (write("cluster.db", os.urandom(4096)), "cluster.db", UnavailableError.exit_code),
        (make_other_database, "cluster.db", DataError.exit_code),
        (write("pki/ca.key"), "pki", DataError.exit_code),
        (make_directory("pki/sa.key"), "pki", UnavailableError.exit_code),
        (make_directory("lock"), "lock", PermissionDeniedError.exit_code),
        (make_directory("running.json"), "running.json", UnavailableError.exit_code),
        (make_directory("log/discovery.log"), "discovery.log", UnavailableError.exit_code),
        (write("log"), "log", PermissionDeniedError.exit_code),
    ],
    ids=["database", "columns", "key", "key-directory", "lock", "record", "log-file", "log-directory"],
)
def test_a_damaged_state_directory_is_one_message(
    tmp_path: Path, damage: Callable[[Path], None], named: str, code: int
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    damage(state)
    done = subprocess.run([*UP, str(state), "-d"], capture_output=True, text=True, timeout=90, check=False)
    assert_refused(done.stderr, named)
    assert done.returncode == code
    assert find_running(StateDir(state)) is None


def test_garbage_of_an_earlier_run_is_no_obstacle(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    for name in ("running.json", "ports.json"):
        write(name, b"[{")(state)
    place = StateDir(state)
    place.create()
    (place.runtime / "agent.sock").touch()
    subprocess.run([*UP, str(state), "-d"], capture_output=True, timeout=90, check=True)
    assert find_running(place) is not None
    subprocess.run([*UP[:3], "down", "--state", str(state)], capture_output=True, timeout=90, check=True)
    assert find_running(place) is None


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    script = f'mount -t tmpfs -o size=600k none "{state}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *UP, str(state), "-d"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert_refused(done.stderr, "disk is full")
    assert done.returncode == UnavailableError.exit_code


def test_up_in_the_foreground_says_what_ended_the_cluster_later(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with subprocess.Popen([*UP, str(state)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None and starter.stderr is not None
        assert "KUBECONFIG" in starter.stdout.readline()
        running = find_running(StateDir(state))
        assert running is not None
        os.kill(find_node_init(running.pid), signal.SIGKILL)
        said = starter.stderr.read()
        assert starter.wait(60) == UnavailableError.exit_code
    assert_refused(said, "the process that holds the node's namespaces has ended")


def find_node_init(daemon: int) -> int:
    """Pid of the process that holds the node's namespaces."""
    [zygote] = [pid for pid in find_children(daemon) if "zygote" in Path(f"/proc/{pid}/cmdline").read_text()]
    [node_init] = find_children(zygote)
    return node_init


def find_children(pid: int) -> list[int]:
    """Child processes."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def assert_refused(said: str, named: str) -> None:
    """One error, which names its part."""
    [message] = [line for line in said.splitlines() if line.startswith("error:")]
    assert named in message
    assert "Traceback" not in said
