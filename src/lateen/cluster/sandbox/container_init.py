"""Pid 1 of a container: builds its root, starts the app, writes its log, tells pod-init how it ended.

Flow: start request -> root -> app -> {"started"} ... output -> log ... exit -> {"exited", code}; then it exits and the
kernel kills what the app left behind. Between the two it answers `exec` and `signal` requests.
Invariants: the app cannot see or trace this process's memory (not dumpable, more capabilities); closing the channel
or SIGKILL ends the container whatever the app does.
"""

import functools
import os
import signal
import stat
from typing import Any

from lateen.cluster.sandbox import kernel, process
from lateen.cluster.sandbox.channel import Channel, Message
from lateen.cluster.sandbox.log_writer import LogWriter
from lateen.cluster.sandbox.poll import Poller, ignore_terminal_signals, iterate_ended_children
from lateen.cluster.sandbox.root import Root, StepFailed

_READ_BYTES = 1 << 16
_LAST_READS = 16  # the largest pipe holds 1 MiB
_MESSAGE_BYTES = 4096  # as kubelet
START_FAILED = 128


class ContainerInit:
    """The loop of one container."""

    def __init__(self, channel: Channel, spec: Message) -> None:
        self._channel = channel
        self._spec: dict[str, Any] = spec
        self._log = LogWriter(spec["log"]["directory"], spec["log"]["name"])
        self._poller = Poller(self._reap)
        self._app = 0
        self._code: int | None = None
        self._executed: dict[int, int] = {}

    def run(self) -> None:
        """Run until the app has ended."""
        try:
            Root(self._spec["root"]).enter()
            self._start_app()
        except StepFailed as failed:
            self._refuse(self._spec["id"], failed)
            return
        kernel.set_dumpable(dumpable=False)
        self._channel.send({"id": self._spec["id"], "result": {}})
        self._poller.add(self._channel.fileno(), self._receive)
        while self._code is None:
            self._poller.run_once()
        self._drain()
        self._log.finish()
        message = _read_termination_message(self._spec["termination_log"])
        self._channel.send({"event": "exited", "code": self._code, "message": message})

    def _start_app(self) -> None:
        with open("/dev/null", "rb") as null:
            pipes = {stream: os.pipe() for stream in ("stdout", "stderr")}
            written = (null.fileno(), pipes["stdout"][1], pipes["stderr"][1])
            self._app = process.start(self._spec["process"], written)
        self._outputs = {stream: read for stream, (read, _write) in pipes.items()}
        for stream, (read, write) in pipes.items():
            os.close(write)
            os.set_blocking(read, False)
            self._poller.add(read, functools.partial(self._read_output, stream))

    def _read_output(self, stream: str) -> bool:
        read = self._outputs.get(stream)
        if read is None:
            return False
        try:
            data = os.read(read, _READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._log.write(stream, data)
            return True
        self._poller.remove(read)
        os.close(read)
        del self._outputs[stream]
        return False

    def _drain(self) -> None:
        """Read what the app left in its pipes; what its children go on writing is not waited for."""
        for stream in list(self._outputs):
            for _ in range(_LAST_READS):
                if not self._read_output(stream):
                    break

    def _reap(self) -> None:
        for pid, code in iterate_ended_children():
            if pid == self._app:
                self._code = code
            elif (request := self._executed.pop(pid, None)) is not None:
                self._channel.send({"event": "exec-exited", "exec": request, "code": code})

    def _receive(self) -> None:
        messages = self._channel.receive()
        if messages is None:
            os._exit(START_FAILED)
        for message, descriptors in messages:
            try:
                match message["op"]:
                    case "signal":
                        self._signal(message)
                    case "exec":
                        self._execute(message, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _signal(self, message: Message) -> None:
        pid = self._app
        if "exec" in message:
            wanted = message["exec"]
            pid = next((pid for pid, request in self._executed.items() if request == wanted), 0)
        if pid:
            try:
                os.kill(pid, message["signal"])
            except ProcessLookupError:
                pass
        self._channel.send({"id": message["id"], "result": {}})

    def _execute(self, message: Message, descriptors: list[int]) -> None:
        spec = {**self._spec["process"], "arguments": message["arguments"]}
        terminal = bool(message.get("terminal"))
        opened: list[int] = []
        try:
            if terminal:
                master, slave = os.openpty()
                opened = [master, slave]
                standard = (slave, slave, slave)
            else:
                standard = (descriptors[0], descriptors[1], descriptors[2])
            pid = process.start(spec, standard, terminal=terminal)
        except (StepFailed, OSError) as error:
            failed = error if isinstance(error, StepFailed) else StepFailed("open a terminal", error)
            self._refuse(message["id"], failed)
        else:
            self._executed[pid] = message["id"]
            self._channel.send({"id": message["id"], "result": {}}, opened[:1])
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _refuse(self, request: int, failed: StepFailed) -> None:
        self._channel.send({"id": request, "error": {"step": failed.step, "errno": failed.number}})


def _read_termination_message(path: str) -> str:
    """Read what the app left there, and nothing else: not through links, no pipe, no file of /proc (size 0)."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return ""
    try:
        status = os.fstat(file)
        size = min(status.st_size, _MESSAGE_BYTES) if stat.S_ISREG(status.st_mode) else 0
        return os.read(file, size).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(file)


def run(channel: Channel, spec: Message) -> None:
    """Be the container's pid 1; the caller just forked into a new pid namespace."""
    kernel.die_with_parent(signal.SIGKILL)
    os.setsid()
    kernel.set_title(f"lateen: container {spec['container']}")
    ignore_terminal_signals()
    kernel.unshare(kernel.CLONE_NEWNS)
    ContainerInit(channel, spec).run()
