"""Reading container logs: what `kubectl logs` shows.

Flow: files `<n>.log.1`, `<n>.log` -> lines from the first one asked for -> bytes; with `follow` on until the container
has ended and all is read.
Source: the Kubernetes pods/log subresource; lines are in CRI's format (`sandbox.log_writer`).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.1
_CHUNK_BYTES = 1 << 16
_NAME = re.compile(r"(\d+)\.log(\.1)?")


def find_attempts(directory: Path) -> list[int]:
    """Return the attempts that have a log, oldest first."""
    if not directory.is_dir():
        return []
    return sorted({int(match[1]) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))})


def format_line(line: bytes, *, timestamps: bool) -> bytes:
    """Return a stored line as it is shown; a part of a longer line has no line end."""
    moment, _stream, tag, text = [*line.split(b" ", 3), b"", b"", b""][:4]
    shown = text if tag == b"P" else text + b"\n"
    return moment + b" " + shown if timestamps else shown


def _is_since(line: bytes, since: datetime | None) -> bool:
    if since is None:
        return True
    try:
        return datetime.fromisoformat(line.split(b" ", 1)[0].decode()[:26] + "+00:00") >= since
    except ValueError:
        return True


async def read_log(
    directory: Path,
    attempt: int,
    *,
    ended: Callable[[], bool],
    follow: bool,
    tail_lines: int | None,
    since: datetime | None,
    timestamps: bool,
) -> AsyncGenerator[bytes, None]:
    """Yield the log in pieces; with `follow`, until `ended()` and nothing is left."""
    current = directory / f"{attempt}.log"
    rotated = _read_lines(directory / f"{attempt}.log.1")
    file = current.open("rb")
    try:
        *complete, rest = file.read().split(b"\n")
        wanted = (line for line in chain(rotated, complete) if _is_since(line, since))
        if old := deque(wanted, tail_lines):
            yield _format(old, timestamps=timestamps)
        while follow:
            finished = ended()
            if data := file.read(_CHUNK_BYTES):
                *complete, rest = (rest + data).split(b"\n")
                if complete:
                    yield _format(complete, timestamps=timestamps)
            elif _is_replaced(file, current):
                file.close()
                file = current.open("rb")
            elif finished:
                return
            else:
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        file.close()


def _format(lines: Iterable[bytes], *, timestamps: bool) -> bytes:
    return b"".join(format_line(line, timestamps=timestamps) for line in lines)


def _is_replaced(file: BinaryIO, path: Path) -> bool:
    """Whether the log was rotated while this file was read to its end."""
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _read_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except FileNotFoundError:
        return
