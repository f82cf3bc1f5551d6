"""Endpoints of a Service, the older form of EndpointSlices, which `kubectl get endpoints` and old clients read.

Service, pods, Endpoints as they are -> actions. Ready and not ready addresses stand apart, grouped by their ports;
terminating pods are left out. Source: the Kubernetes API reference, Endpoints v1, and its controller. Where we
differ: nothing is truncated at 1000 addresses, since slices are what data planes read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lateen.api.core import Service
from lateen.api.objects import JsonObject, labels_of, name_of, namespace_of, uid_of
from lateen.api.pod import Pod
from lateen.cluster.controllers.actions import Action, Create, Delete, Update
from lateen.cluster.controllers.backends import Backend, PortNumber, find_backends, is_headless, is_selecting
from lateen.cluster.controllers.endpoint_slices import HEADLESS_LABEL
from lateen.cluster.controllers.state import ENDPOINTS

MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"


def reconcile_endpoints(service: Service | None, pods: Iterable[Pod], found: JsonObject | None) -> list[Action]:
    """What makes the Endpoints of the Service true; those that somebody else manages are left alone."""
    if service is None or service.metadata.deletion_timestamp is not None:
        if found is None or labels_of(found).get(MANAGED_BY_LABEL) != MANAGER:
            return []
        return [Delete(ENDPOINTS, namespace_of(found), name_of(found), uid_of(found))]
    if not is_selecting(service):
        return []
    labels = {**service.metadata.labels, MANAGED_BY_LABEL: MANAGER}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    subsets = _build_subsets(service, pods)
    if found is None:
        metadata = {"name": service.metadata.name, "namespace": service.metadata.namespace, "labels": labels}
        return [Create(ENDPOINTS, _build(metadata, subsets))]
    if labels == dict(labels_of(found)) and subsets == (found.get("subsets") or []):
        return []
    return [Update(ENDPOINTS, _build({**found["metadata"], "labels": labels}, subsets))]


def _build(metadata: dict[str, Any], subsets: list[dict[str, Any]]) -> JsonObject:
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


def _build_subsets(service: Service, pods: Iterable[Pod]) -> list[dict[str, Any]]:
    groups: dict[tuple[PortNumber, ...], dict[str, list[dict[str, Any]]]] = {}
    family = next(iter(service.spec.ip_families), "IPv4")
    for backend in find_backends(service, pods, family):
        if backend.terminating and not service.spec.publish_not_ready_addresses:
            continue
        group = groups.setdefault(backend.ports, {})
        group.setdefault("addresses" if backend.ready else "notReadyAddresses", []).append(
            _build_address(service, backend)
        )
    return [
        {**group, **({"ports": [port.document() for port in ports]} if ports else {})}
        for ports, group in sorted(groups.items(), key=lambda item: [port[:3] for port in item[0]])
    ]


def _build_address(service: Service, backend: Backend) -> dict[str, Any]:
    spec = backend.pod.spec
    address: dict[str, Any] = {"ip": backend.address, "targetRef": backend.target()}
    if spec.node_name:
        address["nodeName"] = spec.node_name
    if spec.hostname and spec.subdomain == service.metadata.name:
        address["hostname"] = spec.hostname
    return address
