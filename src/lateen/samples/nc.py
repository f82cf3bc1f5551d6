"""The program `nc` of the sample images: standard input to a TCP port, and what comes back to standard output.

    nc [-z] [-v] [-w SECONDS] [-N] [-q SECONDS] HOST PORT

The end of the input closes our side of the connection; exit code 1 when there is no connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

_BLOCK_BYTES = 65536


def parse(argv: list[str]) -> tuple[set[str], float | None, list[str]]:
    """(flags, time limit, [host, port]) of a command line; raises SystemExit for one without host and port."""
    flags: set[str] = set()
    limit: float | None = None
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in ("-w", "-q", "-i", "-G") and words:
            value = float(words.pop(0))
            limit = value if word in ("-w", "-G") else limit
        elif word.startswith("-") and len(word) > 1:
            flags |= set(word[1:])
        else:
            rest.append(word)
    if len(rest) != 2 or not rest[1].isdigit():
        raise SystemExit("usage: nc [-zvN] [-w SECONDS] HOST PORT")
    return flags, limit, rest


def _send(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := os.read(0, _BLOCK_BYTES):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)


def main(argv: list[str]) -> int:
    """Connect, then copy in both directions until the other side ends."""
    flags, limit, (host, port) = parse(argv)
    try:
        connection = socket.create_connection((host, int(port)), timeout=limit)
    except OSError as error:
        if "v" in flags or "z" not in flags:
            print(f"nc: {host} ({port}): {error}", file=sys.stderr)
        return 1
    if "v" in flags:
        print(f"{host} ({connection.getpeername()[0]}:{port}) open", file=sys.stderr)
    if "z" in flags:
        return 0
    threading.Thread(target=_send, args=(connection,), daemon=True).start()
    try:
        while block := connection.recv(_BLOCK_BYTES):
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
    except OSError:
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
