"""From the inbound listener to the app: inbound clusters and the one route of each.

targets of a workload -> `inbound|PORT||` clusters and `InboundPassthroughCluster`.

Invariants: an inbound cluster goes to the connection's original destination, from 127.0.0.6, so that the pod's rules
do not send it back to Envoy; it speaks what the oldest service on the port declares. Retries happen only where
nothing was sent.
Source: Istio's pilot/pkg/networking/core/cluster.go (inbound), httproute.go (inbound).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.names import ClusterName, format_cluster_name
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.incremental.query import query
from lateen.mesh.service import Service, Target, find_service
from lateen.mesh.visibility import mesh_settings
from lateen.translate.cluster import build_original_destination, build_passthrough, set_metadata, set_protocol
from lateen.translate.socket_address import NEVER, build_inbound_bind_config
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

RouteConfiguration = message_class("envoy.config.route.v3.RouteConfiguration")

INBOUND_PASSTHROUGH_CLUSTER = "InboundPassthroughCluster"

_NEVER_CLEAN_UP_SECONDS = 9223372035  # the longest that Envoy takes; the address never changes.


def format_inbound_cluster(port: int) -> ClusterName:
    """Return the name of the cluster of a port of the app."""
    return format_cluster_name("inbound", port, "", "")


@query
def inbound_clusters(db: Database, ports: tuple[tuple[int, tuple[Target, ...]], ...]) -> tuple[Resource, ...]:
    """Return the inbound clusters of a workload's targets, as `mesh.service.targets` gives them."""
    settings = mesh_settings(db)
    passthrough = build_passthrough(INBOUND_PASSTHROUGH_CLUSTER, settings)
    passthrough.upstream_bind_config.CopyFrom(build_inbound_bind_config())
    clusters = [build_resource(passthrough)]
    for port, found in ports:
        services = {target.ref: find_service(db, target.ref) for target in found}
        cluster = build_original_destination(format_inbound_cluster(port), settings)
        cluster.cleanup_interval.FromSeconds(_NEVER_CLEAN_UP_SECONDS)
        cluster.upstream_bind_config.CopyFrom(build_inbound_bind_config())
        known = [service for service in services.values() if service is not None]
        set_metadata(cluster, sorted(known, key=lambda service: service.host))
        _set_app_protocol(cluster, services[found[0].ref], found[0].service_port)
        clusters.append(build_resource(cluster))
    return tuple(clusters)


def build_inbound_routes(cluster: str, port: int, operation: str) -> EnvoyMessage:
    """Return the routes of an inbound port: everything to the app; `operation` names its spans."""
    action = {
        "cluster": cluster,
        "timeout": NEVER,
        "retry_policy": {"retry_on": "reset-before-request", "num_retries": {"value": 2}},
        "max_stream_duration": {"max_stream_duration": NEVER, "grpc_timeout_header_max": NEVER},
    }
    route = {
        "name": "default",
        "match": {"prefix": "/"},
        "route": action,
        "decorator": {"operation": operation},
    }
    host = {"name": f"inbound|http|{port}", "domains": ["*"], "routes": [route]}
    return RouteConfiguration(name=cluster, virtual_hosts=[host], validate_clusters={"value": False})


def _set_app_protocol(cluster: EnvoyMessage, service: Service | None, service_port: int) -> None:
    for port in () if service is None else service.ports:
        if port.number == service_port:
            set_protocol(cluster, port.protocol)
