"""The roots in every namespace: ConfigMap `istio-ca-root-cert`, from which proxies learn whom to trust.

Flow: namespaces and ConfigMaps watched -> namespaces whose ConfigMap is missing or wrong -> create or patch.
Invariants: whatever else stands in the ConfigMap stays; one that somebody edits or deletes is put right
again; a namespace that ends is left alone, a failure is tried again with back-off and blocks no other
namespace. Source: Istio pilot/pkg/serviceregistry/kube/controller/namespacecontroller; label
istio.io/config, ignored namespaces.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from lateen.api.objects import ObjectKey
from lateen.base.errors import ConflictError, LateenError, NotFoundError
from lateen.citadel.authority import find_core_kind
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
from lateen.runtime.clock import Clock
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff

log = get_logger("citadel/trust_bundle")

ROOT_CONFIG_MAP = "istio-ca-root-cert"
ROOT_KEY = "root-cert.pem"
"""The node projects both names into istio-proxy, as Istio's injection template does."""

_IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
_LABELS = {"istio.io/config": "true"}
_FIRST_RETRY = timedelta(milliseconds=100)
_LAST_RETRY = timedelta(seconds=5)

Document = dict[str, Any]


class TrustBundle:
    """Keeps one ConfigMap right in each namespace."""

    def __init__(self, client: Client, roots_pem: bytes, *, clock: Clock) -> None:
        self._client = client
        self._roots = roots_pem.decode()
        self._clock = clock
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._config_map = find_core_kind("ConfigMap")
        self._informers = InformerSet(client, on_changes=self._note)
        self._namespaces = self._informers.add(find_core_kind("Namespace"))
        self._config_maps = self._informers.add(self._config_map, field_selector=f"metadata.name={ROOT_CONFIG_MAP}")

    async def run(self) -> None:
        """Watch and write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informers.run())
            group.create_task(self._write())

    def _note(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self._pending[change.key.namespace or change.key.name] = None
        self._wake.set()

    async def _write(self) -> None:
        await self._informers.synced()
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY)
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self._pending = list(self._pending), {}
            failed = [name for name in pending if not await self._put_right(name)]
            if not failed:
                backoff.reset()
                continue
            await self._clock.sleep(backoff.next())
            self._pending.update(dict.fromkeys(failed))
            self._wake.set()

    async def _put_right(self, namespace: str) -> bool:
        """Return whether the namespace needs no further try."""
        if not self._is_served(namespace):
            return True
        present = self._config_maps.objects.get(ObjectKey(namespace, ROOT_CONFIG_MAP))
        try:
            if present is None:
                await self._client.create(self._config_map, self._build(namespace))
            elif not self._is_right(present):
                patch = {"metadata": {"labels": _LABELS}, "data": {ROOT_KEY: self._roots}}
                await self._client.patch(self._config_map, namespace, ROOT_CONFIG_MAP, patch)
        except (ConflictError, NotFoundError):
            # Somebody was faster: the watch tells what is there now.
            return True
        except LateenError as error:
            log.warning("cannot write the roots", namespace=namespace, reason=error.message)
            return False
        return True

    def _is_served(self, name: str) -> bool:
        namespace = self._namespaces.objects.get(ObjectKey("", name))
        if namespace is None or name in _IGNORED_NAMESPACES:
            return False
        return not namespace["metadata"].get("deletionTimestamp")

    def _is_right(self, config_map: Document) -> bool:
        labels = config_map["metadata"].get("labels") or {}
        content = (config_map.get("data") or {}).get(ROOT_KEY)
        return content == self._roots and labels.items() >= _LABELS.items()

    def _build(self, namespace: str) -> Document:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ROOT_CONFIG_MAP, "namespace": namespace, "labels": dict(_LABELS)},
            "data": {ROOT_KEY: self._roots},
        }
