"""The agent's program: `python -m lateen.agent.main --control SOCK --discovery HOST:PORT --root-cert FILE`.

Flow: arguments -> `Upstream` + `ControlServer` in one loop, until SIGTERM or SIGINT.
Invariants: files and sockets it makes are for its own user alone (umask 077), it leaves no core dump that
could hold keys, and a failure it cannot survive is one line on standard error and the error's exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from lateen.agent.control import ControlServer
from lateen.agent.pod import PodAgent
from lateen.agent.status import ConnectPod
from lateen.agent.upstream import DISCOVERY_NAME, Upstream
from lateen.base.durations import parse_duration
from lateen.base.errors import LateenError
from lateen.runtime.agent_control import AddPod
from lateen.runtime.logging import configure_logging, get_logger
from lateen.runtime.process import die_with_parent
from lateen.runtime.tasks import TaskSet, wait_for_stop_signal

log = get_logger("agent")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(prog="lateen-agent", description="Serve the proxies of one node.")
    parser.add_argument("--control", type=Path, required=True, help="unix socket on which the node speaks")
    parser.add_argument("--discovery", required=True, metavar="HOST:PORT", help="discovery's TLS port")
    parser.add_argument(
        "--root-cert", type=Path, required=True, help="PEM that discovery is verified with; it may come later"
    )
    parser.add_argument("--discovery-name", default=DISCOVERY_NAME, help="the name in its certificate")
    parser.add_argument("--certificate-lifetime", default="24h", metavar="DURATION")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error"))
    parser.add_argument("--die-with-parent", action="store_true", help="end as soon as the parent has ended")
    return parser


async def run(arguments: argparse.Namespace) -> None:
    """Serve until told to stop."""
    lifetime = parse_duration(arguments.certificate_lifetime)
    upstream = Upstream(arguments.discovery, arguments.root_cert, name=arguments.discovery_name)

    def build(pod: AddPod, connect: ConnectPod) -> PodAgent:
        wanted = timedelta(seconds=pod.certificate_seconds) or lifetime
        return PodAgent(pod, upstream, connect, lifetime=wanted)

    beneath, serving = TaskSet("upstream"), TaskSet("agent")
    ends = [
        beneath.start(upstream.run(), name="upstream"),
        serving.start(ControlServer(arguments.control, build).serve(), name="control"),
        serving.start(wait_for_stop_signal(), name="signals"),
    ]
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        # The pods first: they still use the channel.
        await serving.close()
        await beneath.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    arguments = build_parser().parse_args(argv)
    if arguments.die_with_parent:
        die_with_parent()
    os.umask(0o077)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    configure_logging(level=arguments.log_level)
    try:
        asyncio.run(run(arguments))
    except LateenError as error:
        log.error("ends", reason=error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
