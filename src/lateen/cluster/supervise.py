"""Child processes of the daemon that must stay up: discovery and the agent.

`Child(name, command, log)` -> `run()`, which starts the process unless `start` has, starts it again when it ends
(at once after a long life, with back-off up to 5 s while it keeps failing) and ends it when cancelled. Output goes to
the component's log file. A child dies with the daemon: the kernel sends it SIGKILL when its parent is
gone (PR_SET_PDEATHSIG, set by the child itself through `--die-with-parent`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG = logging.getLogger(__name__)
_STEADY_SECONDS = 10.0
_MAX_DELAY_SECONDS = 5.0
_STOP_SECONDS = 5.0


class Child:
    """One supervised process."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.command = tuple(command)
        self._log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self) -> None:
        """Start the process now; `run` then begins with watching over it."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        self._started_at = time.monotonic()

    def close(self) -> None:
        """End the process if nobody watches over it, and return when it is gone."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    async def run(self) -> None:
        """Keep the process up until cancelled."""
        delay = 0.0
        try:
            while True:
                await asyncio.sleep(delay)
                try:
                    if self._process is None:
                        self.start()
                    how = f"ended with status {await self._wait()}"
                    steady = time.monotonic() - self._started_at > _STEADY_SECONDS
                except OSError as error:  # no process or descriptor to be had, a full disk
                    how, steady = f"cannot be started: {error}", False
                delay = 0.0 if steady else min(max(0.1, delay * 2), _MAX_DELAY_SECONDS)
                LOG.warning("%s %s; starting it again", self.name, how)
        finally:
            await self._stop()

    async def _wait(self) -> int:
        """The exit status of the process, once it has ended."""
        process = self._process
        assert process is not None
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.pidfd_open(process.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._process = None
        return process.wait()

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(self._wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await self._wait()
