"""What the API server needs of the node that runs a pod: its streams.

The node implements `PodIO`; the API server knows no process and no file of a pod.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from typing import Protocol


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
