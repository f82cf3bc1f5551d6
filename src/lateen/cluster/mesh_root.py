"""The mesh's root certificate as a file: ConfigMap `istio-ca-root-cert` -> `DIR/components/mesh-root.pem`.

The agent must know discovery before it talks to it, and is no Kubernetes client of its own. The file follows the
ConfigMap and is replaced at once, so that a reader sees the old or the new one.
"""

from __future__ import annotations

from pathlib import Path

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.cluster.install import MESH_NAMESPACE
from lateen.cluster.pki import write_private
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet

CONFIG_MAP = "istio-ca-root-cert"
_KEY = "root-cert.pem"


async def keep_mesh_root(client: Client, path: Path) -> None:
    """Write the certificate whenever it changes, until cancelled."""

    def write(changes: tuple[Change, ...]) -> None:
        for change in changes:
            pem = ((change.new or {}).get("data") or {}).get(_KEY)
            if isinstance(pem, str) and pem:
                write_private(path, pem.encode())

    informers = InformerSet(client, on_changes=write)
    informers.add(_config_map_kind(), namespace=MESH_NAMESPACE, field_selector=f"metadata.name={CONFIG_MAP}")
    await informers.run()


def _config_map_kind() -> Kind:
    kind = Registry(BUILTIN).find("", "v1", "configmaps")
    assert kind is not None
    return kind
