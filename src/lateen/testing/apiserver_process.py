"""A real API server as a process of its own, to be killed and started again under its clients.

`async with run_process(tmp_path) as server:` -> `server.config(user)`; `await server.restart(signal.SIGKILL)`. Port,
keys and objects stay.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lateen.kube.config import ClientConfig, load_config


class ApiServerProcess:
    """The process; it is started by `restart` after it was stopped."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._port = "0"
        self._process: asyncio.subprocess.Process | None = None

    def config(self, user: str = "admin") -> ClientConfig:
        """How the administrator or a component reaches it."""
        path = "kubeconfig" if user == "admin" else f"components/{user}.kubeconfig"
        return load_config(self._state / path)

    async def start(self) -> None:
        """Start it and wait until it listens."""
        command = ["-m", "lateen.cluster.apiserver.main", "--state", str(self._state), "--port", self._port]
        self._process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        assert await self._process.stdout.readline(), "the API server did not start"
        self._port = self.config().server.rpartition(":")[2]

    async def stop(self, number: signal.Signals) -> None:
        """Send it a signal and wait for its end."""
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()

    async def restart(self, number: signal.Signals) -> None:
        """End it by a signal and start it on the same port."""
        await self.stop(number)
        await self.start()


@asynccontextmanager
async def run_process(state: Path) -> AsyncIterator[ApiServerProcess]:
    """Run it until the block ends."""
    server = ApiServerProcess(state)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(signal.SIGTERM)
