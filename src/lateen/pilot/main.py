"""The program behind `lateen discovery` and `python -m lateen.pilot.main`: options, signals, exit status.

A failure is one line on standard error and the exit status of its kind; what runs well says on standard output,
once, in one line of JSON, that it is ready and on which ports.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from lateen.base.errors import LateenError
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.pilot.discovery import Discovery
from lateen.pilot.options import Options, Ports, parse_options
from lateen.runtime.clock import SystemClock
from lateen.runtime.garbage import keep_pauses_short
from lateen.runtime.logging import configure_logging
from lateen.runtime.process import die_with_parent
from lateen.runtime.tasks import wait_for_stop_signal


def main(argv: list[str] | None = None) -> int:
    """Run the control plane until SIGTERM or SIGINT; returns the exit status."""
    options = parse_options(sys.argv[1:] if argv is None else argv)
    if options.dies_with_parent:
        die_with_parent()
    configure_logging(level=options.log_level)
    try:
        asyncio.run(_run(options))
    except LateenError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the program's own output
        return error.exit_code
    return 0


async def _run(options: Options) -> None:
    async with Client(load_config(options.kubeconfig), user_agent="lateen-discovery") as client:
        discovery = Discovery(client, options)
        running = asyncio.create_task(discovery.run())
        stopping = asyncio.create_task(wait_for_stop_signal())
        tidying = asyncio.create_task(_tell_and_tidy(discovery, options.ports_file))
        try:
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            for task in (running, stopping, tidying):
                task.cancel()
            await asyncio.gather(running, stopping, tidying, return_exceptions=True)


async def _tell_and_tidy(discovery: Discovery, ports_file: Path | None) -> None:
    await discovery.ready.wait()
    if ports_file is not None:
        _write(ports_file, discovery.ports)
    print(json.dumps({"ready": True, "ports": asdict(discovery.ports)}), flush=True)  # noqa: T201
    await keep_pauses_short(SystemClock())


def _write(path: Path, ports: Ports) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(asdict(ports)) + "\n")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
