"""When a pod that must end may begin to end: once nobody is sent to it any more.

Flow: the Services that name the pod as a ready endpoint -> none does -> a moment for their proxies to hear of it.
Invariants: it ends after `find_limit` whatever Services say, and pods that serve no Service do not wait.
Source: the Kubernetes page "Pod Lifecycle", termination of pods. Where we differ: kubelet tells the app to end at once
and leaves it to a preStop hook to wait for the endpoints; here no request is lost without one.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from lateen.cluster.service_directory import ServiceDirectory
from lateen.runtime.clock import Clock

_HEARD = timedelta(seconds=1)
"""From the slice's change to the last proxy's: discovery batches for 0.1 s, and a busy machine is slow."""
_POLL = timedelta(milliseconds=20)
_LONGEST = timedelta(seconds=5)


def find_limit(grace: timedelta) -> timedelta:
    """Return how much of a grace period may be spent on waiting."""
    return min(grace / 2, _LONGEST)


async def wait_withdrawn(services: ServiceDirectory, address: str, clock: Clock, limit: timedelta) -> None:
    """Return when no proxy sends new requests to the address, or at the limit."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            while services.is_ready(address):
                await clock.sleep(_POLL)
            await clock.sleep(_HEARD)
    except TimeoutError:
        return
