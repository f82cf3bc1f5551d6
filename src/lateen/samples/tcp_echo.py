"""Istio's tcp-echo sample: every line comes back behind a prefix, on one or several TCP ports.

tcp_echo.py PORT[,PORT...] PREFIX
"""

from __future__ import annotations

import asyncio
import signal
import sys


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prefix: str) -> None:
    try:
        while line := await reader.readline():
            writer.write(f"{prefix} ".encode() + line)
            await writer.drain()
    except (ConnectionError, ValueError):
        return
    finally:
        writer.close()


async def serve(ports: list[int], prefix: str) -> None:
    """Echo until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    servers = [
        await asyncio.start_server(lambda reader, writer: _echo(reader, writer, prefix), None, port) for port in ports
    ]
    print(f"listening on {', '.join(map(str, ports))}, prefix {prefix}", flush=True)
    await ended.wait()
    for server in servers:
        server.close()


def main(argv: list[str]) -> None:
    """Read ports and prefix from the command line."""
    ports, prefix = (argv + ["9000,9001,9002", "hello"][len(argv) :])[:2]
    asyncio.run(serve([int(port) for port in ports.split(",")], prefix))


if __name__ == "__main__":
    main(sys.argv[1:])
