"""Container logs: output of the app, line by line, into rotated files.

Flow: bytes of standard output or error -> `2025-01-01T00:00:00.000000000Z stdout F line` -> `<n>.log`; at
`MAX_BYTES` the file becomes `<n>.log.1` (replacing the one before) and a new one starts.
Invariants: a line longer than `LINE_BYTES` is split, its parts marked P; the directory is held open, so writing goes
on after the container left the host's file system.
Source: Kubernetes CRI logging format.
"""

import os
import time

MAX_BYTES = 10 << 20
LINE_BYTES = 16 << 10


def format_timestamp(nanoseconds: int) -> str:
    """Return RFC 3339 with nanoseconds, in UTC."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


class LogWriter:
    """Writes the log of one container attempt."""

    def __init__(self, directory: str, name: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = name
        self._pending: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._open()

    def _open(self) -> None:
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC
        self._file = os.open(self._name, flags, 0o600, dir_fd=self._directory)
        self._size = os.fstat(self._file).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Take output of `stdout` or `stderr`; what is not yet a line is kept for the next call."""
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        prefix = f"{format_timestamp(time.time_ns())} {stream} ".encode()
        out: list[bytes] = []
        for line in lines:
            parts = [line[at : at + LINE_BYTES] for at in range(0, len(line), LINE_BYTES)] or [b""]
            out += [prefix + b"P " + part + b"\n" for part in parts[:-1]]
            out.append(prefix + b"F " + parts[-1] + b"\n")
        while len(rest) >= LINE_BYTES:
            out.append(prefix + b"P " + rest[:LINE_BYTES] + b"\n")
            rest = rest[LINE_BYTES:]
        self._pending[stream] = rest
        self._append(b"".join(out))

    def finish(self) -> None:
        """Write what is pending."""
        for stream, rest in self._pending.items():
            if rest:
                self.write(stream, b"\n")

    def _append(self, data: bytes) -> None:
        if not data:
            return
        try:
            os.write(self._file, data)
        except OSError:
            return  # a full disk must not stop the app
        self._size += len(data)
        if self._size >= MAX_BYTES:
            self._rotate()

    def _rotate(self) -> None:
        full = self._file
        try:
            os.rename(self._name, self._name + ".1", src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self._open()
        except OSError:
            self._size = 0  # the log goes on in the same file, and is tried again when it has grown as much
            return
        os.close(full)
