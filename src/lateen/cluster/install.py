"""What `lateen up` puts into a new cluster, as ordinary objects: Istio's CRDs and the mesh's configuration.

Nothing that a user changed is put back: an object that exists stays as it is.
"""

from __future__ import annotations

from typing import Any

import yaml

from lateen.api.crds import build_crd
from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.base.errors import ConflictError
from lateen.kube.client import Client

MESH_NAMESPACE = "istio-system"
MESH_CONFIG = {
    "rootNamespace": MESH_NAMESPACE,
    "trustDomain": "cluster.local",
    "enableAutoMtls": True,
    "accessLogFile": "",
}
"""Istio's defaults, written out where users look for them first."""


def build_definitions() -> list[dict[str, Any]]:
    """The CRDs of all Istio kinds."""
    return [build_crd(kind) for kind in ISTIO]


def build_mesh_objects() -> list[dict[str, Any]]:
    """Objects of the mesh besides CRDs."""
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": MESH_NAMESPACE},
        "data": {"mesh": yaml.safe_dump(MESH_CONFIG, sort_keys=False), "meshNetworks": "networks: {}"},
    }
    return [config_map]


async def install_mesh(client: Client) -> None:
    """Create the objects that do not exist yet."""
    registry = Registry(BUILTIN)
    for document in build_mesh_objects():
        kind = registry.find_document(document)
        assert kind is not None, document["kind"]
        try:
            await client.create(kind, document)
        except ConflictError:
            continue
