"""The API server alone: `python -m lateen.cluster.apiserver.main --state DIR [--port N]`.

For tests and for work on other parts: no controllers, no node. Writes `DIR/kubeconfig` and one per
component below `DIR/components`, prints the administrator's path when it listens, ends with SIGTERM or
SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

from lateen.base.errors import LateenError, UnavailableError
from lateen.cluster.apiserver.server import ApiServer
from lateen.cluster.install import build_definitions
from lateen.cluster.pki import Pki, open_pki, write_kubeconfig
from lateen.cluster.store import Store


def write_kubeconfigs(state: Path, pki: Pki, server: str) -> None:
    """Write the kubeconfigs of the administrator and of every component."""
    for component, token in pki.tokens.items():
        path = state / "kubeconfig" if component == "admin" else state / "components" / f"{component}.kubeconfig"
        write_kubeconfig(path, server=server, ca_pem=pki.ca_pem, token=token, user=component)


def bind(port: int) -> socket.socket:
    """A socket on the loopback address; UnavailableError if the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"cannot listen on 127.0.0.1:{port}: {error.strerror}", fix="choose another --port"
        ) from error
    return listener


async def run(state: Path, port: int) -> None:
    """Serve until a signal asks to stop."""
    pki = open_pki(state / "pki")
    listener = bind(port)
    server = ApiServer(Store(state / "cluster.db"), pki, definitions=build_definitions())
    write_kubeconfigs(state, pki, f"https://127.0.0.1:{listener.getsockname()[1]}")
    await server.start([listener])
    print(state / "kubeconfig", flush=True)  # noqa: T201
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    await server.close()


def main(argv: list[str] | None = None) -> int:
    """Run the server; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lateen.cluster.apiserver.main", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="directory for objects, keys and kubeconfigs")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; any free one by default")
    arguments = parser.parse_args(argv)
    try:
        arguments.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run(arguments.state, arguments.port))
    except LateenError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
