"""`lateen up`, `down` and `status`: one embedded cluster on this machine.

`up` starts the daemon (`lateen.cluster.main`) as a process of its own and reads its progress, one JSON
object per line, from a pipe. In the foreground it then waits; Ctrl-C ends the daemon and all it
started. With `-d` it returns and leaves the daemon running.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import click

from lateen.base.errors import (
    ConflictError,
    DataError,
    LateenError,
    MachineError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UsageError,
)
from lateen.cli.output import Steps, print_data, print_table
from lateen.cluster.state import StateDir, default_state_dir, find_running

_STOP_SECONDS = 45.0
_ERRORS: dict[int, type[LateenError]] = {
    kind.exit_code: kind
    for kind in (
        ConflictError,
        DataError,
        MachineError,
        NotFoundError,
        PermissionDeniedError,
        UnavailableError,
        UsageError,
    )
}

state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Directory of the cluster [default: ~/.local/state/lateen, or $LATEEN_STATE].",
)


def state_of(path: Path | None) -> StateDir:
    """The state directory that a `--state` option names."""
    return StateDir(path.absolute() if path else default_state_dir())


class Daemon:
    """A daemon that this process started."""

    def __init__(self, process: subprocess.Popen[bytes], progress: BinaryIO, state: StateDir) -> None:
        self.process = process
        self.kubeconfig = state.kubeconfig
        self._progress = progress
        self._log = state.logs / "cluster.log"

    def wait_ready(self, steps: Steps) -> None:
        """Show progress until the cluster is ready; raises the error that ended the daemon."""
        if not self._follow(steps):
            code = self.process.wait()
            raise UnavailableError(
                f"the cluster's daemon ended with status {code} before it was ready", fix=f"see {self._log}"
            )

    def wait(self) -> None:
        """Return never: raises the error that ended the daemon."""
        self._follow(Steps())
        raise UnavailableError(
            f"the cluster's daemon ended with status {self.process.wait()}",
            fix=f"see {self._log}; `lateen up` starts it again with all objects",
        )

    def _follow(self, steps: Steps) -> bool:
        """Return True when the daemon says that the cluster is ready, False when it ends without a word."""
        return any(_follow(json.loads(line), steps) for line in self._progress)

    def stop(self) -> int:
        """Ask the daemon to end, wait for it, and return its exit status."""
        self._progress.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start_daemon(
    state: StateDir,
    *,
    steps: Steps,
    automatic_ports: bool,
    attached: bool,
    environment: dict[str, str] | None = None,
) -> Daemon:
    """Start a daemon and wait until the cluster is ready.

    Raises the error the daemon reported (machine unfit, port taken, directory in use, ...).
    """
    state.create()
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-m",
        "lateen.cluster.main",
        "--state",
        str(state.path),
        "--progress-fd",
        str(writing),
    ]
    command += ["--automatic-ports"] if automatic_ports else []
    command += ["--die-with-parent"] if attached else []
    with (state.logs / "cluster.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
            cwd="/",
            env={**os.environ, **(environment or {})},
        )
    os.close(writing)
    daemon = Daemon(process, os.fdopen(reading, "rb"), state)
    try:
        daemon.wait_ready(steps)
    except BaseException:
        daemon.stop()
        raise
    return daemon


def _follow(message: dict[str, Any], steps: Steps) -> bool:
    """Show one progress message; True when the cluster is ready. Raises the daemon's error."""
    match message:
        case {"step": str(text)}:
            steps.start(text)
        case {"done": str(text)}:
            steps.done(text)
        case {"ready": True}:
            return True
        case {"error": str(text), "exit_code": int(code), "fix": fix}:
            raise _ERRORS.get(code, LateenError)(text, fix=fix)
    return False


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Return when the cluster is ready and leave it running.")
@click.option(
    "--ports",
    type=click.Choice(["istio", "auto"]),
    default="istio",
    show_default=True,
    help="Istio's own ports and 6443 for the API, or any free ones.",
)
@state_option
def up(*, detach: bool, ports: str, state: Path | None) -> None:
    """Start a cluster with a mesh on this machine, as an ordinary user.

    \b
    Examples:
      lateen up -d                       in the background
      lateen up --state ./mesh           files in ./mesh; Ctrl-C ends all
    """
    place = state_of(state)
    started = time.monotonic()
    daemon = start_daemon(place, steps=Steps(), automatic_ports=ports == "auto", attached=not detach)
    click.echo(
        f"The cluster is ready after {time.monotonic() - started:.1f} s. Use it with kubectl or `lateen get`:\n",
        err=True,
    )
    click.echo(f"export KUBECONFIG={place.kubeconfig}")
    if detach:
        click.echo(f"\nStop it with `lateen down{f' --state {state}' if state else ''}`.", err=True)
        return
    click.echo("\nCtrl-C ends it.", err=True)
    _wait(daemon)


def _wait(daemon: Daemon) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        daemon.wait()
    except KeyboardInterrupt:
        click.echo("\nstopping ...", err=True)
        daemon.stop()


@click.command()
@state_option
def down(*, state: Path | None) -> None:
    """Stop the cluster; its objects stay and return with the next `up`."""
    place = state_of(state)
    running = find_running(place)
    if running is None:
        click.echo(f"no cluster runs on {place.path}")
        return
    _end(running.pid)
    click.echo(f"the cluster on {place.path} is down")


def _end(pid: int) -> None:
    """Ask the daemon to end, return when it has; it is killed when it takes too long."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], _STOP_SECONDS)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [])
    except ProcessLookupError:
        return
    finally:
        os.close(process)


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@state_option
def status(*, output: str, state: Path | None) -> None:
    """Show whether a cluster runs, its components and its ports."""
    place = state_of(state)
    running = find_running(place)
    if running is None:
        raise UnavailableError(f"no cluster runs on {place.path}", fix="start one with `lateen up -d`")
    value = {
        "state": str(place.path),
        "kubeconfig": str(place.kubeconfig),
        "server": running.server,
        "ready": running.ready,
        "pid": running.pid,
        "version": running.version,
        "ports": running.ports,
    }
    if output != "table":
        print_data(value, output)
        return
    rows = [(key, text) for key, text in value.items() if key != "ports"]
    print_table((), [*rows, *[(f"port {name}", port) for name, port in sorted(running.ports.items())]])
