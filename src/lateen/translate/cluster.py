"""Clusters for what is not declared, and what all clusters have in common.

(name, settings) -> `envoy.config.cluster.v3.Cluster`.

| cluster | takes |
| --- | --- |
| PassthroughCluster | what passes, on to where it was going |
| AllowAnyDynamicDNSCluster | requests to what their host resolves to |
| BlackHoleCluster | what is refused |

Source: Istio's pilot/pkg/networking/core/cluster*.go (names, defaults, thresholds); Envoy's cluster.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.incremental.query import query
from lateen.mesh.protocol import Protocol
from lateen.mesh.service import Service
from lateen.mesh.settings import MeshSettings
from lateen.mesh.visibility import mesh_settings
from lateen.translate.socket_address import build_duration
from lateen.translate.traffic_policy import UNLIMITED
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Cluster = message_class("envoy.config.cluster.v3.Cluster")
CircuitBreakers = message_class("envoy.config.cluster.v3.CircuitBreakers")
HttpProtocolOptions = message_class("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
DynamicCluster = message_class("envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig")

PASSTHROUGH_CLUSTER = "PassthroughCluster"
BLACK_HOLE_CLUSTER = "BlackHoleCluster"
DYNAMIC_DNS_CLUSTER = "AllowAnyDynamicDNSCluster"
DYNAMIC_DNS_CACHE = {"name": "allow_any_dfp_dns_cache", "dns_lookup_family": "V4_ONLY", "max_hosts": {"value": 1024}}
"""The cache of names; filter and cluster must say the same of it."""

_HTTP_OPTIONS_KEY = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PASSTHROUGH_IDLE_SECONDS = 300


@query
def fixed_clusters(db: Database) -> tuple[Resource, ...]:
    """Return the clusters for what is not declared: passed on as it came, or refused."""
    settings = mesh_settings(db)
    black_hole = Cluster(
        name=BLACK_HOLE_CLUSTER,
        alt_stat_name=f"{BLACK_HOLE_CLUSTER};",
        type="STATIC",
        connect_timeout=build_duration(settings.connect_timeout),
    )
    clusters = [black_hole, build_passthrough(PASSTHROUGH_CLUSTER, settings)]
    if settings.dynamic_dns:
        clusters.append(_build_dynamic(settings))
    return tuple(build_resource(cluster) for cluster in clusters)


def build_passthrough(name: str, settings: MeshSettings) -> EnvoyMessage:
    """Return a cluster that goes where the connection was going, in the protocol in which it came."""
    cluster = build_original_destination(name, settings)
    options = build_downstream_protocol()
    options.common_http_protocol_options.idle_timeout.FromSeconds(_PASSTHROUGH_IDLE_SECONDS)
    set_http_options(cluster, options)
    return cluster


def _build_dynamic(settings: MeshSettings) -> EnvoyMessage:
    cluster = build_passthrough(DYNAMIC_DNS_CLUSTER, settings)
    config = DynamicCluster(dns_cache_config=DYNAMIC_DNS_CACHE, allow_insecure_cluster_options=True)
    cluster.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    cluster.cluster_type.typed_config.CopyFrom(pack_any(config))
    return cluster


def build_original_destination(name: str, settings: MeshSettings) -> EnvoyMessage:
    """Return a cluster without endpoints of its own: it goes to the connection's original destination."""
    return Cluster(
        name=name,
        alt_stat_name=f"{name};",
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        connect_timeout=build_duration(settings.connect_timeout),
        circuit_breakers=_build_circuit_breakers(),
    )


def set_metadata(cluster: EnvoyMessage, services: list[Service]) -> None:
    """Say which services a cluster is for, as Istio's telemetry reads it."""
    cluster.metadata.filter_metadata["istio"].update(
        {
            "services": [
                {"host": service.host, "name": _get_name(service), "namespace": service.ref.namespace}
                for service in services
            ]
        }
    )


def _get_name(service: Service) -> str:
    return service.ref.name if service.ref.kind == "Service" else service.host


def set_protocol(cluster: EnvoyMessage, protocol: Protocol) -> None:
    """Make a cluster speak a port's protocol."""
    if protocol.is_http2:
        options = HttpProtocolOptions(explicit_http_config={"http2_protocol_options": {"allow_connect": True}})
        set_http_options(cluster, options)
    elif protocol.is_detected:
        set_http_options(cluster, build_downstream_protocol())


def set_http_options(cluster: EnvoyMessage, options: EnvoyMessage) -> None:
    """Set how a cluster speaks HTTP."""
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS_KEY].CopyFrom(pack_any(options))


def build_downstream_protocol() -> EnvoyMessage:
    """Return the options of a cluster that speaks what its clients speak."""
    return HttpProtocolOptions(
        use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": {}}
    )


def _build_circuit_breakers() -> EnvoyMessage:
    limit = {"value": UNLIMITED}
    threshold = {
        "max_connections": limit,
        "max_pending_requests": limit,
        "max_requests": limit,
        "max_retries": limit,
    }
    return CircuitBreakers(thresholds=[threshold])
