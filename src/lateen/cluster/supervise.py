"""Child processes of the daemon that must stay up: discovery and the agent.

`Child(name, command, log)` -> `run()`, which starts the process, starts it again when it ends
(at once after a long life, with back-off up to 5 s while it keeps failing) and ends it when cancelled. Output goes to
the component's log file. A child dies with the daemon: the kernel sends it SIGKILL when its parent is
gone (PR_SET_PDEATHSIG, set by the child itself through `--die-with-parent`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
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
        self.starts = 0
        self._log = log
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while the child runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def run(self) -> None:
        """Keep the process up until cancelled."""
        delay = 0.0
        try:
            while True:
                await asyncio.sleep(delay)
                started = time.monotonic()
                code = await self._start_and_wait()
                steady = time.monotonic() - started > _STEADY_SECONDS
                delay = 0.0 if steady else min(max(0.1, delay * 2), _MAX_DELAY_SECONDS)
                LOG.warning("%s ended with status %s; starting it again", self.name, code)
        finally:
            await self._stop()

    async def _start_and_wait(self) -> int:
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        self.starts += 1
        return await self._process.wait()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
