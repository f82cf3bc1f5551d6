"""A child that must stay up: started early or late, started again when it ends, gone with its supervisor."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lateen.cluster.supervise import Child
from lateen.testing.poll import until

PROGRAM = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PROGRAM


def build_child(directory: Path, program: str = PROGRAM) -> Child:
    return Child("test", [sys.executable, "-S", "-c", program], directory / "log", dict(os.environ))


def read_pids(directory: Path) -> list[int]:
    log = directory / "log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[None]:
    task = asyncio.create_task(child.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_child_that_was_started_before_is_watched_not_started_twice(tmp_path: Path) -> None:
    child = build_child(tmp_path)
    child.start()
    async with running(child):
        (pid,) = await until(lambda: read_pids(tmp_path))
        assert is_alive(pid)
    assert not is_alive(pid)
    assert read_pids(tmp_path) == [pid]


async def test_a_child_that_ends_is_started_again(tmp_path: Path) -> None:
    async with running(build_child(tmp_path)):
        (first,) = await until(lambda: read_pids(tmp_path))
        os.kill(first, signal.SIGKILL)
        pids = await until(lambda: len(read_pids(tmp_path)) == 2 and read_pids(tmp_path))
        assert not is_alive(first)
        assert is_alive(pids[1])


async def test_a_child_that_ignores_the_request_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lateen.cluster.supervise._STOP_SECONDS", 0.05)
    async with running(build_child(tmp_path, STUBBORN)):
        (pid,) = await until(lambda: read_pids(tmp_path))
    assert not is_alive(pid)


async def test_a_child_that_cannot_be_started_for_a_while_comes_back(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    async with running(build_child(directory)):
        (first,) = await until(lambda: read_pids(directory))
        directory.rename(tmp_path / "away")
        os.kill(first, signal.SIGKILL)
        await until(lambda: not is_alive(first))
        directory.mkdir()
        (second,) = await until(lambda: read_pids(directory))
        assert second != first
