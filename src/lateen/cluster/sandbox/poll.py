"""Waiting for several descriptors and for children, in one single-threaded process.

Flow: registered descriptors and SIGCHLD -> callbacks. Invariant: handlers run one at a time; a child's end is
noticed through a wake-up descriptor, so no end is lost between two polls.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator


class Poller:
    """Calls back when a descriptor is readable or children ended."""

    def __init__(self, on_children: Callable[[], None]) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], object]] = {}
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = read
        self._wake_writer = write
        self._on_children = on_children
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.add(read, self._woken)

    def add(self, descriptor: int, handler: Callable[[], object]) -> None:
        """Call `handler` whenever the descriptor is readable or closed by its peer."""
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.POLLIN)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor (before it is closed)."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def close(self) -> None:
        """Give up the wake-up descriptor; a forked child does so before it makes its own poller."""
        signal.set_wakeup_fd(-1)
        os.close(self._wake)
        os.close(self._wake_writer)

    def run_once(self) -> None:
        """Wait for one round of events and handle them."""
        for descriptor, _events in self._poll.poll():
            if handler := self._handlers.get(descriptor):
                handler()

    def _woken(self) -> None:
        os.read(self._wake, 4096)
        self._on_children()


def iterate_ended_children() -> Iterator[tuple[int, int]]:
    """Yield (pid, exit code) of every ended child; a signal counts as 128 + its number."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        yield pid, code if code >= 0 else 128 - code


def ignore_terminal_signals() -> None:
    """Leave Ctrl-C, hang-up and SIGTERM to the daemon, which ends this process by closing its channel."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
