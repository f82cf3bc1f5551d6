"""The controllers' loop: changes -> keys -> reconcile -> actions, with nothing polled.

Work begins when every kind was listed once: before that, a missing object may only be one that was not read yet. A
key whose actions fail for a reason that may pass is tried again with growing delays; another failure is logged and
waits for the next change.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from lateen.api.core import Service
from lateen.api.objects import labels_of, name_of
from lateen.api.pod import Pod
from lateen.base.errors import ConflictError, LateenError, UnavailableError
from lateen.cluster.controllers.actions import Action
from lateen.cluster.controllers.endpoint_slices import reconcile_slices
from lateen.cluster.controllers.endpoints import reconcile_endpoints
from lateen.cluster.controllers.namespaces import DEFAULT_ACCOUNT, ROOT_CERTIFICATE, reconcile_namespace
from lateen.cluster.controllers.performing import Performer
from lateen.cluster.controllers.pods import reconcile_pod
from lateen.cluster.controllers.queue import WorkQueue
from lateen.cluster.controllers.state import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    ENDPOINTS,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    State,
)
from lateen.cluster.controllers.triggers import ZONE_LABEL, Key, Work, find_work
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
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

    def __init__(self, client: Client) -> None:
        self.state = State(root_certificate=(client.config.ca_pem or b"").decode())
        self._performer = Performer(client, self.state)
        self._queue: WorkQueue[Key] = WorkQueue()
        self._delays: dict[Key, Backoff] = {}
        self._informers = InformerSet(client, on_changes=self._on_changes)
        for kind in (SERVICE, POD, NODE, NAMESPACE, ENDPOINT_SLICE, ENDPOINTS):
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
                await self._performer.perform(self._reconcile(key))
                self._delays.pop(key, None)
            except (UnavailableError, ConflictError) as error:
                backoff = self._delays.setdefault(key, Backoff(_FIRST_DELAY, _LONGEST_DELAY))
                log.debug("trying again", key=":".join((key.work.value, *key[1:])), error=error.message)
                self._queue.add_later(key, backoff.next())
            except LateenError as error:
                log.error("cannot reconcile", key=":".join((key.work.value, *key[1:])), error=error.message)
            finally:
                self._queue.done(key)
            await asyncio.sleep(0)  # most keys need no request, and the API server shares this loop

    def _reconcile(self, key: Key) -> list[Action]:
        state, namespace, name = self.state, key.namespace, key.name
        match key.work:
            case Work.NAMESPACE:
                return reconcile_namespace(state, name)
            case Work.POD:
                return reconcile_pod(state, namespace, name)
            case Work.SERVICE:
                service = state.find_view(SERVICE, Service, namespace, name)
                selector = (service.spec.selector if service is not None else None) or {}
                names = state.find_names(POD, namespace, selector.items()) if selector else []
                pods = list(state.views(POD, Pod, namespace, names))
                slices = state.labelled_slices(namespace, name)
                zones = {name_of(node): labels_of(node).get(ZONE_LABEL, "") for node in state.documents(NODE, "")}
                found = state.find(ENDPOINTS, namespace, name)
                return [*reconcile_slices(service, pods, slices, zones), *reconcile_endpoints(service, pods, found)]
