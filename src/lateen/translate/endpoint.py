"""Endpoint discovery: who stands behind a cluster now.

Cluster name -> `envoy.config.endpoint.v3.ClusterLoadAssignment`, one per service port and subset.

Invariants: only ready backends, sorted by address; an endpoint whose sidecar takes mutual TLS says so in the metadata
that the cluster's transport sockets match on. A service without ready backends has an empty assignment, so that
Envoy answers 503 (UH) rather than wait.
Source: Istio's pilot/pkg/xds/endpoints (metadata `istio.workload`: name;namespace;app;version;cluster).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lateen.api.destination_rule import Subset
from lateen.base.names import parse_cluster_name
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.incremental.query import query
from lateen.mesh.destination_rule import find_rules, find_subset, merge_rules
from lateen.mesh.endpoint import Backend, backends
from lateen.mesh.rows import Labels, Port, sort_labels
from lateen.mesh.service import Service, find_port, find_service_by_host
from lateen.mesh.visibility import find_scope
from lateen.translate.socket_address import build_address
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

ClusterLoadAssignment = message_class("envoy.config.endpoint.v3.ClusterLoadAssignment")
LbEndpoint = message_class("envoy.config.endpoint.v3.LbEndpoint")

TLS_MODE_KEY = "tlsMode"
_PIPE_PREFIX = "unix://"
CLUSTER_ID = "Kubernetes"  # the only cluster; proxies name it in their metadata.


@query
def proxy_load_assignment(db: Database, namespace: str, cluster_name: str) -> Resource | None:
    """Return the endpoints of a cluster for the proxies of a namespace."""
    return load_assignment(db, cluster_name, find_scope(db, namespace).viewer)


@query
def load_assignment(db: Database, cluster_name: str, viewer: str) -> Resource | None:
    """Return the endpoints of an outbound cluster, None when there is no such service, port or subset."""
    parts = parse_cluster_name(cluster_name)
    service = None if parts is None else find_service_by_host(db, parts.host, viewer)
    if parts is None or service is None or parts.direction != "outbound":
        return None
    labels: Labels = ()
    if parts.subset:
        rule = merge_rules(db, find_rules(db, service.host, service.ref.namespace, viewer))
        subset = find_subset(rule, parts.subset)
        if subset is None:
            return None
        labels = sort_labels(subset.labels)
    if find_port(service, parts.port) is None:
        return None
    ready = [one for one in backends(db, service.ref, parts.port) if one.ready and set(labels) <= set(one.labels)]
    return build_resource(_build_assignment(cluster_name, ready))


def build_load_assignment(db: Database, service: Service, port: Port, name: str, subset: Subset | None) -> EnvoyMessage:
    """Return the endpoints of a cluster that resolves names itself."""
    labels = set() if subset is None else set(subset.labels.items())
    listed = backends(db, service.ref, port.number)
    return _build_assignment(name, [backend for backend in listed if labels <= set(backend.labels)])


def _build_assignment(name: str, ready: list[Backend]) -> EnvoyMessage:
    """Return an assignment with the endpoints of each locality together, in the order of the places' names."""
    assignment = ClusterLoadAssignment(cluster_name=name)
    for locality in sorted({backend.locality for backend in ready}):
        near = [backend for backend in ready if backend.locality == locality]
        assignment.endpoints.add(
            locality=_build_locality(locality),
            lb_endpoints=[_build_endpoint(backend) for backend in near],
            load_balancing_weight={"value": sum(backend.weight for backend in near)},
        )
    return assignment


def _build_locality(text: str) -> dict[str, str]:
    return {name: part for name, part in zip(("region", "zone", "sub_zone"), text.split("/"), strict=False) if part}


def _build_endpoint(backend: Backend) -> EnvoyMessage:
    endpoint = LbEndpoint(
        endpoint={"address": _build_address(backend)},
        health_status="HEALTHY",
        load_balancing_weight={"value": backend.weight},
    )
    metadata = endpoint.metadata.filter_metadata
    if backend.mutual_tls:
        metadata["envoy.transport_socket_match"][TLS_MODE_KEY] = "istio"
    if backend.workload:
        labels = dict(backend.labels)
        app = labels.get("app") or labels.get("app.kubernetes.io/name") or backend.workload
        version = labels.get("version") or labels.get("app.kubernetes.io/version") or ""
        workload = (backend.workload, backend.namespace, app, version, CLUSTER_ID)
        metadata["istio"]["workload"] = ";".join(workload)
    return endpoint


def _build_address(backend: Backend) -> dict[str, Any]:
    if backend.address.startswith(_PIPE_PREFIX):
        return {"pipe": {"path": backend.address.removeprefix(_PIPE_PREFIX)}}
    return build_address(backend.address, backend.port)
