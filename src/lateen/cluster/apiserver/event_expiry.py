"""Events end: one that is an hour old is removed, so that a cluster that runs for weeks does not fill up.

Source: kube-apiserver's `--event-ttl`, one hour unless said otherwise.
"""

from __future__ import annotations

import asyncio
import datetime

from lateen.cluster.apiserver.strategy import format_time, now
from lateen.cluster.store import Store, WrongVersionError

LIFETIME = datetime.timedelta(hours=1)
_SWEEP_SECONDS = 60.0
_EVENTS_PER_TURN = 200


async def expire_events(store: Store, moment: datetime.datetime) -> int:
    """Remove the events that were last written more than `LIFETIME` before a moment; their number."""
    oldest = format_time(moment - LIFETIME)
    removed = 0
    for number, revision in enumerate(store.list_objects("events"), 1):
        document = revision.document()
        last = document.get("lastTimestamp") or document["metadata"]["creationTimestamp"]
        if last < oldest:
            try:
                await store.delete(revision.key, document, expected=revision.version)
                removed += 1
            except WrongVersionError:
                continue
        elif number % _EVENTS_PER_TURN == 0:
            await asyncio.sleep(0)
    return removed


async def run_expiry(store: Store) -> None:
    """Expire events until cancelled."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await expire_events(store, now())
