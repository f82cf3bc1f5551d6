"""Discovery's webhooks: the server on 15017, its settings from the cluster, and the `caBundle` by which it is trusted.

Flow: ConfigMaps `istio` and `istio-sidecar-injector` -> `InjectionSettings`; MutatingWebhookConfigurations that lead to
this discovery -> the same with our roots as `caBundle`.

Invariants: `serving()` returns only when the configurations that exist are right and the port answers, since
a failing webhook keeps pods out; a configuration that somebody else's service answers is never touched; settings that
cannot be read leave the last good ones in force. Source: Istio `pkg/webhooks/webhookpatch.go`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import yaml

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.objects import ObjectKey
from lateen.base.errors import ConflictError, LateenError, NotFoundError
from lateen.inject.configuration import DISCOVERY_SERVICE, PATH
from lateen.inject.settings import InjectionSettings, read_settings
from lateen.inject.webhook import WebhookServer
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
from lateen.mesh.inputs import MESH_CONFIG_REF
from lateen.runtime.clock import Clock
from lateen.runtime.logging import get_logger
from lateen.runtime.tasks import Backoff
from lateen.runtime.tls import KeyPair

log = get_logger("webhooks")

INJECTOR_CONFIG_MAP = "istio-sidecar-injector"
_NAMESPACE = MESH_CONFIG_REF.namespace
_FIRST_RETRY = timedelta(milliseconds=100)
_LAST_RETRY = timedelta(seconds=5)

Document = Mapping[str, Any]


class Webhooks:
    """Sidecar injection for one cluster."""

    def __init__(self, client: Client, roots_pem: bytes, find_pair: Callable[[], KeyPair], *, clock: Clock) -> None:
        self._client = client
        self._bundle = base64.b64encode(roots_pem).decode()
        self._clock = clock
        self._settings = InjectionSettings()
        self._wake = asyncio.Event()
        self._right = asyncio.Event()
        self._kind = _find_kind("MutatingWebhookConfiguration")
        self._informers = InformerSet(client, on_changes=self._note)
        self._configurations = self._informers.add(self._kind)
        self._config_maps = self._informers.add(_find_kind("ConfigMap"), namespace=_NAMESPACE)
        self.server = WebhookServer(lambda: self._settings, find_pair)

    async def run(self) -> None:
        """Watch and write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informers.run())
            group.create_task(self._write())

    async def settled(self) -> None:
        """Wait until every configuration was right once."""
        await self._right.wait()

    def _note(self, changes: tuple[Change, ...]) -> None:
        if any(change.kind.kind == "ConfigMap" for change in changes):
            self._settings = self._read_settings()
        self._wake.set()

    def _read_settings(self) -> InjectionSettings:
        injector, mesh = self._find_data(INJECTOR_CONFIG_MAP), self._find_data(MESH_CONFIG_REF.name)
        try:
            values = json.loads(injector.get("values") or "{}")
            configuration = yaml.safe_load(mesh.get("mesh") or "{}") or {}
            policy = (yaml.safe_load(injector.get("config") or "{}") or {}).get("policy") or "enabled"
            return read_settings(values, configuration, policy=policy)
        except (ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
            log.warning("cannot read the injector's settings, the last good ones stay", reason=str(error))
            return self._settings

    def _find_data(self, name: str) -> Mapping[str, str]:
        found = self._config_maps.objects.get(ObjectKey(_NAMESPACE, name))
        return (found or {}).get("data") or {}

    async def _write(self) -> None:
        await self._informers.synced()
        backoff = Backoff(_FIRST_RETRY, _LAST_RETRY)
        while True:
            self._wake.clear()
            written = [await self._put_right(each) for each in tuple(self._configurations.objects.values())]
            if all(written):
                self._right.set()
                backoff.reset()
                await self._wake.wait()
            else:
                await self._clock.sleep(backoff.next())

    async def _put_right(self, configuration: Document) -> bool:
        """Whether the configuration needs no further try."""
        webhooks = [dict(each) for each in configuration.get("webhooks") or ()]
        wrong = [one for one in webhooks if _is_ours(one) and one["clientConfig"].get("caBundle") != self._bundle]
        if not wrong:
            return True
        for webhook in wrong:
            webhook["clientConfig"] = {**webhook["clientConfig"], "caBundle": self._bundle}
        name = configuration["metadata"]["name"]
        try:
            await self._client.update(self._kind, {**configuration, "webhooks": webhooks})
        except (ConflictError, NotFoundError):
            return True  # somebody was faster: the watch tells what is there now
        except LateenError as error:
            log.warning("cannot write the caBundle", configuration=name, reason=error.message)
            return False
        log.info("wrote the caBundle", configuration=name)
        return True


def _is_ours(webhook: Document) -> bool:
    service = (webhook.get("clientConfig") or {}).get("service") or {}
    wanted = (DISCOVERY_SERVICE, _NAMESPACE)
    return (service.get("name"), service.get("namespace")) == wanted and service.get("path", "").startswith(PATH)


def _find_kind(name: str) -> Kind:
    return next(kind for kind in Registry(BUILTIN) if kind.kind == name)
