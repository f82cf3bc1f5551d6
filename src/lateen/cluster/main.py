"""The daemon behind `lateen up`: `python -m lateen.cluster.main --state DIR [--progress-fd N]`.

The order matters: the state directory is locked, the machine is probed, and the zygote is forked while
this process is still single-threaded and small; then discovery and the agent are started, and only while they
come up are aiohttp and the rest imported.
Progress and errors go to the pipe as one JSON object per line (`step`, `done`, `ready`, or `error` with
`exit_code` and `fix`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path

from lateen.base.errors import LateenError, MachineError, UnavailableError
from lateen.cluster.machine import probe
from lateen.cluster.state import Lock, StateDir
from lateen.cluster.zygote import fork_zygote
from lateen.envoy.binary import find_envoy


class Progress:
    """Writes progress to the pipe of whoever started the daemon; a closed pipe is no error."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def send(self, **message: object) -> None:
        """Write one message."""
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the pipe: the starter need not wait any longer."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the daemon's command line."""
    parser = argparse.ArgumentParser(prog="python -m lateen.cluster.main", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="state directory")
    parser.add_argument("--progress-fd", type=int, default=None, help="inherited descriptor for progress")
    parser.add_argument("--automatic-ports", action="store_true", help="use any free ports")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent process ends")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the daemon until SIGTERM; returns the exit status."""
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    progress = Progress(arguments.progress_fd)
    if arguments.progress_fd is not None:
        os.set_inheritable(arguments.progress_fd, False)
    if arguments.die_with_parent:
        from lateen.runtime.process import die_with_parent

        die_with_parent()
    state = StateDir(arguments.state.absolute())
    # Until the event loop listens to it, a request to stop ends the start in order, as Ctrl-C would.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(state, progress, automatic_ports=arguments.automatic_ports)
    except KeyboardInterrupt:
        return 0


def _run(state: StateDir, progress: Progress, *, automatic_ports: bool) -> int:
    """Probe the machine and run the cluster; its error is told to whoever started it, and is the exit status."""
    try:
        state.create()
        lock = Lock(state)
        progress.send(step="looking at the machine")
        report = probe()
        if not report.ok:
            raise MachineError(report.message, fix=report.fix)
        find_envoy()
        progress.send(done="the machine can run pods")
        _run_cluster(state, progress, automatic_ports=automatic_ports)
        lock.release()
    except LateenError as error:
        return _refuse(error, progress)
    except OSError as error:
        traceback.print_exc()
        path = error.filename2 or error.filename
        where = f"cannot use {path}: " if path else ""
        return _refuse(UnavailableError(f"{where}{error.strerror or error}", fix=_see(state)), progress)
    except Exception as error:
        traceback.print_exc()
        return _refuse(UnavailableError(f"an error of Lateen's own: {error!r}", fix=_see(state)), progress)
    return 0


def _see(state: StateDir) -> str:
    return f"{state.logs / 'cluster.log'} tells more"


def _refuse(error: LateenError, progress: Progress) -> int:
    """Tell the starter and the log; returns the exit status."""
    progress.send(error=error.message, exit_code=error.exit_code, fix=error.fix)
    print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the daemon's log
    return error.exit_code


def _run_cluster(state: StateDir, progress: Progress, *, automatic_ports: bool) -> None:
    """Fork the zygote, start the children, import the rest and run; none of them is left when it returns or raises.

    The sockets' directory goes last: the next start makes it anew.
    """
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, state.runtime, ignore_errors=True)
        zygote = fork_zygote()
        stack.callback(zygote.close)
        from lateen.cluster.launch import launch

        under_way = launch(state, automatic_ports=automatic_ports)
        stack.callback(under_way.close)
        from lateen.cluster.daemon import run_daemon

        run_daemon(under_way, zygote, progress)


if __name__ == "__main__":
    sys.exit(main())
