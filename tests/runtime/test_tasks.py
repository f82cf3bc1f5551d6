"""Background tasks that are owned and loud, retry delays, and dying with the parent."""

import asyncio
import os
import signal
import sys
from datetime import timedelta

import pytest

from lateen.runtime.tasks import Backoff, TaskSet
from lateen.testing.poll import until

ORPHAN = """
import os, sys, time
pid = os.fork()
if pid == 0:
    from lateen.runtime.process import die_with_parent
    die_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(600)
os.waitpid(pid, 0)
"""


async def test_closing_a_set_ends_its_tasks():
    tasks = TaskSet("test")
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    tasks.start(forever(), name="one")
    tasks.start(forever(), name="two")
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == [True, True]
    assert len(tasks) == 0


async def test_a_failed_task_fails_whoever_waits_for_the_set():
    tasks = TaskSet("test")

    async def fail() -> None:
        raise ValueError("broken")

    tasks.start(fail(), name="fail")
    with pytest.raises(ValueError, match="broken"):
        await tasks.wait()
    await tasks.close()


def test_delays_double_up_to_the_maximum_and_begin_again():
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=5), jitter=0)
    assert [backoff.next().total_seconds() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == timedelta(seconds=1)


def test_delays_are_spread_within_the_jitter():
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=1), jitter=0.5)
    delays = {backoff.next() for _ in range(50)}
    assert len(delays) > 1
    assert all(timedelta(seconds=0.5) <= delay <= timedelta(seconds=1.5) for delay in delays)


async def test_a_child_dies_with_its_parent():
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", ORPHAN, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    def gone() -> bool:
        try:
            with open(f"/proc/{child}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    await until(gone, what="the child is dead")
    assert os.getpid() != child
