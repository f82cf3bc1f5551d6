"""Meshes of any size, to count and to measure with: services over 20 namespaces, as Kubernetes documents.

Flow: number -> Service and its EndpointSlice with one ready endpoint; every service has one HTTP port, the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAMESPACES = 20
PORT = 8000


def find_namespace(number: int) -> str:
    """The namespace of a service."""
    return f"ns{number % NAMESPACES}"


def find_cluster(number: int) -> str:
    """The name of its outbound cluster."""
    return f"outbound|{PORT}||svc{number}.{find_namespace(number)}.svc.cluster.local"


def build_service(number: int, **metadata: Any) -> dict[str, Any]:
    """The Service, with further metadata."""
    name = f"svc{number}"
    address = f"10.96.{number // 250}.{number % 250 + 1}"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": find_namespace(number), **metadata},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "selector": {"app": name},
            "ports": [{"name": "http", "port": PORT, "targetPort": 8080, "protocol": "TCP"}],
        },
    }


def build_slice(number: int, address: str | None = None) -> dict[str, Any]:
    """Its EndpointSlice."""
    name = f"svc{number}"
    labels = {"kubernetes.io/service-name": name}
    address = address or f"10.244.{number // 250}.{number % 250 + 1}"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": find_namespace(number), "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }


def build_mesh(services: int) -> Iterator[dict[str, Any]]:
    """Both of each service."""
    for number in range(services):
        yield build_service(number)
        yield build_slice(number)
