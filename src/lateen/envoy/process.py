"""One Envoy process: its command line, its life, its verdict on a configuration.

bootstrap document -> command -> running EnvoyProcess; bootstrap document -> accepted or Envoy's reason.

Invariants: Envoy never outlives the block that started it; its output goes to a file, whose end is quoted
when it dies. Hot restart is off: a proxy is replaced by a new pod, as in Istio.
Source: Envoy's operations/cli page; Istio's pkg/envoy (arguments).
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lateen.base.errors import DataError, UnavailableError
from lateen.envoy.admin import AdminClient, connect_to_address
from lateen.envoy.binary import find_envoy

DRAIN_SECONDS = 45  # Istio's ProxyConfig.drainDuration.

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02
_QUOTED_LINES = 20


def build_command(
    config_file: str,
    *,
    executable: str | None = None,
    concurrency: int = 2,
    log_level: str = "warning",
    drain_seconds: int = DRAIN_SECONDS,
) -> tuple[str, ...]:
    """Return Envoy's command line for a bootstrap file; `executable` is its path where it will run."""
    return (
        executable or str(find_envoy()),
        "-c",
        config_file,
        "--concurrency",
        str(concurrency),
        "--drain-time-s",
        str(drain_seconds),
        "--drain-strategy",
        "immediate",
        "--log-level",
        log_level,
        "--component-log-level",
        "misc:error",
        "--disable-hot-restart",
    )


async def validate(bootstrap: dict[str, Any], folder: Path) -> None:
    """Have the real Envoy check a bootstrap, written into `folder`; raises DataError with its reason."""
    config_file = folder / "validate.json"
    config_file.write_text(json.dumps(bootstrap))
    process = await asyncio.create_subprocess_exec(
        *build_command(str(config_file), concurrency=1),
        "--mode",
        "validate",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise DataError(f"Envoy refuses the configuration: {_tail(output.decode(errors='replace'))}")


class EnvoyProcess:
    """`async with EnvoyProcess(bootstrap, folder) as envoy:` runs Envoy until the block ends."""

    def __init__(self, bootstrap: dict[str, Any], folder: Path, *, log_level: str = "warning") -> None:
        """`folder` takes the bootstrap, the log and the admin address; nothing else may write there."""
        self._bootstrap = bootstrap
        self._log_level = log_level
        self._config_file = folder / "bootstrap.json"
        self._admin_file = folder / "admin-address"
        self.log_file = folder / "envoy.log"
        self._process: asyncio.subprocess.Process | None = None
        self._admin: AdminClient | None = None

    @property
    def admin(self) -> AdminClient:
        """The client of its admin interface."""
        if self._admin is None:
            raise UnavailableError("Envoy has not started")
        return self._admin

    @property
    def pid(self) -> int:
        """The process id."""
        if self._process is None:
            raise UnavailableError("Envoy has not started")
        return self._process.pid

    async def __aenter__(self) -> Self:
        """Start Envoy and wait until its admin interface answers; raises DataError when it dies at once."""
        self._config_file.write_text(json.dumps(self._bootstrap))
        self._admin_file.unlink(missing_ok=True)
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *build_command(str(self._config_file), concurrency=1, log_level=self._log_level),
                "--admin-address-path",
                str(self._admin_file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
            )
        finally:
            os.close(descriptor)
        try:
            await self._find_admin()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def wait_ready(self) -> None:
        """Return when Envoy has its first clusters and listeners; raises UnavailableError after a while."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await self.admin.is_ready():
                    self._check_alive()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise UnavailableError(f"Envoy is not ready: {self.read_log_tail()}") from None

    async def stop(self) -> None:
        """End Envoy: politely first, by force after a few seconds."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def read_log_tail(self) -> str:
        """Return the last lines that Envoy wrote."""
        return _tail(self.log_file.read_text(errors="replace") if self.log_file.exists() else "")

    def _check_alive(self) -> None:
        if self._process is not None and self._process.returncode is not None:
            raise DataError(f"Envoy ended with {self._process.returncode}: {self.read_log_tail()}")

    async def _find_admin(self) -> None:
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not (self._admin_file.exists() and self._admin_file.read_text().strip()):
                    self._check_alive()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise UnavailableError(f"Envoy does not start: {self.read_log_tail()}") from None
        host, _, port = self._admin_file.read_text().strip().rpartition(":")
        self._admin = AdminClient(connect_to_address(host.strip("[]"), int(port)))


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_QUOTED_LINES:])
