"""The controllers' loop: changes -> keys -> reconcile -> actions, with nothing polled.

Work begins when every kind was listed once: before that, a missing object may only be one that was not read yet. A
key whose actions fail for a reason that may pass is tried again with growing delays; another failure is logged and
waits for the next change.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from lateen.base.errors import ConflictError, LateenError, UnavailableError
from lateen.cluster.controllers.actions import LookAgain
from lateen.cluster.controllers.namespaces import DEFAULT_ACCOUNT, ROOT_CERTIFICATE
from lateen.cluster.controllers.performing import Performer
from lateen.cluster.controllers.queue import WorkQueue
from lateen.cluster.controllers.reconciling import MAKES_PODS, reconcile, report_failure
from lateen.cluster.controllers.state import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    SERVICE_ACCOUNT,
    State,
)
from lateen.cluster.controllers.triggers import Key, find_work, format_key
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
from lateen.runtime.clock import Clock, SystemClock
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff

log = get_logger("controllers")

_WORKERS = 8
_FIRST_DELAY = timedelta(milliseconds=10)
_LONGEST_DELAY = timedelta(seconds=2)


async def run(client: Client) -> None:
    """Run every controller until cancelled."""
    await Controllers(client).run()


class Controllers:
    """One loop for all controllers, because they read the same objects."""

    def __init__(self, client: Client, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.state = State(root_certificate=(client.config.ca_pem or b"").decode())
        self._performer = Performer(client, self.state)
        self._queue: WorkQueue[Key] = WorkQueue()
        self._delays: dict[Key, Backoff] = {}
        self._informers = InformerSet(client, on_changes=self._on_changes)
        for kind in (SERVICE, POD, NODE, NAMESPACE, ENDPOINT_SLICE, ENDPOINTS, DEPLOYMENT, REPLICA_SET, JOB):
            self._informers.add(kind)
        self._informers.add(SERVICE_ACCOUNT, field_selector=f"metadata.name={DEFAULT_ACCOUNT}")
        self._informers.add(CONFIG_MAP, field_selector=f"metadata.name={ROOT_CERTIFICATE}")

    async def run(self) -> None:
        """Run until cancelled, or until a bug of ours ends it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informers.run(), name="controllers/informers")
            await self._informers.synced()
            for number in range(_WORKERS):
                group.create_task(self._work(), name=f"controllers/worker-{number}")

    def _on_changes(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if change.new is None:
                self.state.remove(change.kind, change.key)
            else:
                self.state.put(change.kind, change.new)
        for change in changes:
            self._queue.add(find_work(self.state, change))

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._reconcile(key)
                self._delays.pop(key, None)
            except (UnavailableError, ConflictError) as error:
                self._try_again(key, error)
            except LateenError as error:
                if key.work not in MAKES_PODS:
                    log.error("cannot reconcile", key=format_key(key), error=error.message)
                else:  # what refuses the pods is another object, whose change makes no work here
                    self._try_again(key, error)
            finally:
                self._queue.done(key)
            await asyncio.sleep(0)  # most keys need no request, and the API server shares this loop

    async def _reconcile(self, key: Key) -> None:
        self._queue.forget(key)
        actions = reconcile(self.state, key, self._clock.now())
        if waits := [action.after for action in actions if isinstance(action, LookAgain)]:
            self._queue.add_later(key, min(waits))
        wanted = [action for action in actions if not isinstance(action, LookAgain)]
        try:
            await self._performer.perform(wanted)
        except ConflictError:
            raise
        except LateenError as error:
            await self._performer.perform(report_failure(self.state, key, error.message, self._clock.now()))
            raise

    def _try_again(self, key: Key, error: LateenError) -> None:
        backoff = self._delays.setdefault(key, Backoff(_FIRST_DELAY, _LONGEST_DELAY))
        log.debug("trying again", key=format_key(key), error=error.message)
        self._queue.add_later(key, backoff.next())
