"""ConfigMaps and Secrets as typed views: what pods refer to in their environment and volumes.

Flow: informer changes -> `apply` -> `source(namespace)`, a live `environment.ConfigSource`.
Invariants: views are decoded once per change; an object that does not decode (the API server admits none) is as absent.
"""

from __future__ import annotations

from collections.abc import Mapping

from lateen.api.codec import decode
from lateen.api.core import ConfigMap, Secret
from lateen.api.objects import ObjectKey
from lateen.cluster.node.pod_api import get_kind
from lateen.kube.informer import Change

CONFIG_MAPS = get_kind("", "v1", "configmaps")
SECRETS = get_kind("", "v1", "secrets")


class References:
    """The latest ConfigMaps and Secrets."""

    def __init__(self) -> None:
        self._config_maps: dict[ObjectKey, ConfigMap] = {}
        self._secrets: dict[ObjectKey, Secret] = {}

    def apply(self, change: Change) -> None:
        """Take a change of a ConfigMap or Secret."""
        if change.kind is CONFIG_MAPS:
            config_map = None if change.new is None else decode(change.new, ConfigMap).value
            if config_map is None:
                self._config_maps.pop(change.key, None)
            else:
                self._config_maps[change.key] = config_map
        elif change.kind is SECRETS:
            secret = None if change.new is None else decode(change.new, Secret).value
            if secret is None:
                self._secrets.pop(change.key, None)
            else:
                self._secrets[change.key] = secret

    def source(self, namespace: str) -> NamespaceSource:
        """Return those of one namespace."""
        return NamespaceSource(namespace, self._config_maps, self._secrets)


class NamespaceSource:
    """ConfigMaps and Secrets of one namespace, live."""

    def __init__(
        self, namespace: str, config_maps: Mapping[ObjectKey, ConfigMap], secrets: Mapping[ObjectKey, Secret]
    ) -> None:
        self._namespace = namespace
        self._config_maps = config_maps
        self._secrets = secrets

    def config_map(self, name: str) -> ConfigMap | None:
        """Return the ConfigMap, if it is there."""
        return self._config_maps.get(ObjectKey(self._namespace, name))

    def secret(self, name: str) -> Secret | None:
        """Return the Secret, if it is there."""
        return self._secrets.get(ObjectKey(self._namespace, name))
