"""Samples as processes, started as containers start them, on free ports of this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lateen

SITE = str(Path(lateen.__file__).parent.parent)


def find_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Sample:
    """One running sample."""

    process: subprocess.Popen[str]
    port: int

    @property
    def resident_kib(self) -> int:
        """Memory of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found
        return int(found[1])

    def url(self, path: str) -> str:
        """Address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"


Start = Callable[..., Sample]


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a sample."""
    return [sys.executable, "-S", "-m", f"lateen.samples.{module}", *arguments]


def run(module: str, *arguments: str, stdin: str = "", seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a sample that ends by itself."""
    environment = {**os.environ, "PYTHONPATH": SITE}
    return subprocess.run(
        command(module, *arguments),
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(module, *arguments, **environment)`; `{port}` in an argument or value is the port."""
    running: list[Sample] = []

    def begin(module: str, *arguments: str, **environment: str) -> Sample:
        port = find_port()
        values = {name: value.replace("{port}", str(port)) for name, value in environment.items()}
        process = subprocess.Popen(
            command(module, *(word.replace("{port}", str(port)) for word in arguments)),
            env={**os.environ, "PYTHONPATH": SITE, "HOSTNAME": "pod-1", **values},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "listening" in first, first + process.stdout.read()
        threading.Thread(target=process.stdout.read, daemon=True).start()
        running.append(Sample(process, port))
        return running[-1]

    yield begin
    for sample in running:
        sample.process.send_signal(signal.SIGTERM)
    for sample in running:
        sample.process.wait(30)
        assert sample.process.stdout is not None
        sample.process.stdout.close()
