"""Endpoint discovery: who stands behind a cluster now.

Cluster name -> `envoy.config.endpoint.v3.ClusterLoadAssignment`, one per service port.

Invariants: only ready backends, sorted by address; an endpoint whose sidecar takes mutual TLS says so in the metadata
that the cluster's transport sockets match on. A service without ready backends has an empty assignment, so that
Envoy answers 503 (UH) rather than wait.
Source: Istio's pilot/pkg/xds/endpoints (metadata `istio.workload`: name;namespace;app;version;cluster).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.names import ObjectRef, parse_cluster_name
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.incremental.query import query
from lateen.mesh.endpoint import Backend, backends
from lateen.mesh.service import find_service, find_service_ref
from lateen.mesh.visibility import mesh_settings
from lateen.translate.socket_address import build_address
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

ClusterLoadAssignment = message_class("envoy.config.endpoint.v3.ClusterLoadAssignment")
LbEndpoint = message_class("envoy.config.endpoint.v3.LbEndpoint")

TLS_MODE_KEY = "tlsMode"
CLUSTER_ID = "Kubernetes"  # the only cluster; proxies name it in their metadata.


@query
def load_assignment(db: Database, cluster_name: str) -> Resource | None:
    """Return the endpoints of an outbound cluster, None when there is no such service port."""
    parts = parse_cluster_name(cluster_name)
    ref = None if parts is None else find_service_ref(parts.host, mesh_settings(db).cluster_domain)
    if parts is None or ref is None or parts.direction != "outbound":
        return None
    return _service_assignment(db, ref, parts.port)


@query
def _service_assignment(db: Database, ref: ObjectRef, port: int) -> Resource | None:
    service = find_service(db, ref)
    if service is None or all(known.number != port for known in service.ports):
        return None
    ready = [backend for backend in backends(db, ref, port) if backend.ready]
    assignment = ClusterLoadAssignment(cluster_name=f"outbound|{port}||{service.host}")
    if ready:
        assignment.endpoints.add(
            locality={},
            lb_endpoints=[_build_endpoint(backend) for backend in ready],
            load_balancing_weight={"value": len(ready)},
        )
    return build_resource(assignment)


def _build_endpoint(backend: Backend) -> EnvoyMessage:
    endpoint = LbEndpoint(
        endpoint={"address": build_address(backend.address, backend.port)},
        health_status="HEALTHY",
        load_balancing_weight={"value": 1},
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
