"""What the API server needs of the node that runs a pod: its streams.

The node implements `PodIO`; the API server knows no process and no file of a pod.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from typing import Protocol


class Execution(Protocol):
    """A program that runs beside a container's."""

    @property
    def terminal(self) -> int | None:
        """The master side of its terminal, if it has one; whoever started it closes it."""

    async def wait(self) -> int:
        """The exit code, 128 + n for signal n."""

    async def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""


class PodIO(Protocol):
    """Streams into and out of the containers of running pods."""

    def logs(
        self,
        namespace: str,
        name: str,
        container: str,
        *,
        follow: bool,
        tail_lines: int | None,
        previous: bool,
        since: datetime.datetime | None,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """The log of a container in pieces, from the oldest line asked for; with `follow` until the container ends.

        Raises NotFoundError when that container has written no log (yet).
        """

    async def execute(
        self,
        namespace: str,
        name: str,
        container: str,
        arguments: list[str],
        standard: tuple[int, int, int] | None,
    ) -> Execution:
        """Run a program in a running container with these three descriptors, or with a new terminal if None.

        The descriptors stay the caller's. Raises NotFoundError when the container does not run, and the node's
        error when the program cannot be started.
        """
