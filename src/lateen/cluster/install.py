"""What `lateen up` puts into a new cluster, as ordinary objects: Istio's CRDs, the mesh's configuration, istiod, DNS.

Nothing that a user changed is put back: an object that exists stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from lateen.api.crds import build_crd
from lateen.api.discovery import SERVICE_NAME_LABEL
from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.base.errors import ConflictError
from lateen.cluster.ingress_gateway import build_gateway_objects
from lateen.cluster.zygote import BRIDGE_ADDRESS, DNS_ADDRESS
from lateen.inject.configuration import build_webhooks
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
    return [config_map, *_build_istiod(), *_build_cluster_dns(), build_webhooks(namespace=MESH_NAMESPACE)]


def _build_istiod() -> list[dict[str, Any]]:
    """Discovery as a Service on Istio's ports, whatever ports it has on the host."""
    labels = {"app": "istiod", "istio": "pilot", "istio.io/rev": "default"}
    ports = [
        {"name": "grpc-xds", "port": 15010, "protocol": "TCP"},
        {"name": "https-dns", "port": 15012, "protocol": "TCP"},
        {"name": "https-webhook", "port": 443, "targetPort": 15017, "protocol": "TCP"},
        {"name": "http-monitoring", "port": 15014, "protocol": "TCP"},
    ]
    return _build_bridge_service("istiod", MESH_NAMESPACE, labels, {"ports": ports})


def _build_cluster_dns() -> list[dict[str, Any]]:
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    return _build_bridge_service("kube-dns", "kube-system", labels, {"clusterIP": DNS_ADDRESS, "ports": ports})


def _build_bridge_service(
    name: str, namespace: str, labels: dict[str, str], spec: dict[str, Any]
) -> list[dict[str, Any]]:
    """A Service without selector and the slice that says that the node's bridge serves it."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }
    ports = [
        {"name": port["name"], "port": port.get("targetPort", port["port"]), "protocol": port["protocol"]}
        for port in spec["ports"]
    ]
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {SERVICE_NAME_LABEL: name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [BRIDGE_ADDRESS], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [service, endpoint_slice]


async def install_mesh(client: Client) -> None:
    """Create the objects that do not exist yet."""
    await _create_missing(client, build_mesh_objects())


async def install_gateway(client: Client) -> None:
    """Create the ingress gateway's objects that do not exist yet."""
    await _create_missing(client, build_gateway_objects())


async def _create_missing(client: Client, documents: Iterable[dict[str, Any]]) -> None:
    registry = Registry(BUILTIN)
    for document in documents:
        kind = registry.find_document(document)
        assert kind is not None, document["kind"]
        try:
            await client.create(kind, document)
        except ConflictError:
            continue
