"""Outbound clusters: how a client reaches a service's port, and what it demands of whoever answers.

(Service, port) -> `envoy.config.cluster.v3.Cluster`; a scope -> the clusters it sees, a tree by namespace.

| service | discovery | mutual TLS |
| --- | --- | --- |
| with virtual address | EDS | endpoint by endpoint, by the metadata `tlsMode` |
| headless | ORIGINAL_DST: the address that the app chose | if every backend takes it |

Invariants: the server must show the identity of one of the service's own backends. Between sidecars HTTP/1.1
travels over HTTP/2 where no backend is without sidecar; otherwise a cluster speaks what its port declares.
Source: Istio's pilot/pkg/networking/core/cluster*.go (names, defaults, thresholds); Envoy's cluster.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.names import ObjectRef, format_cluster_name
from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.incremental.query import query
from lateen.mesh.endpoint import identities, takes_mutual_tls
from lateen.mesh.protocol import Protocol
from lateen.mesh.rows import ServicePort
from lateen.mesh.service import Service, find_service
from lateen.mesh.settings import MeshSettings
from lateen.mesh.visibility import Scope, mesh_settings, service_namespaces, visible_services
from lateen.translate.endpoint import TLS_MODE_KEY
from lateen.translate.socket_address import build_ads_source, build_duration
from lateen.translate.tls import (
    HTTP1_ALPN,
    HTTP2_ALPN,
    STREAM_ALPN,
    build_plain_text,
    build_upstream_tls,
    format_sni,
)
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Cluster = message_class("envoy.config.cluster.v3.Cluster")
CircuitBreakers = message_class("envoy.config.cluster.v3.CircuitBreakers")
TransportSocketMatch = message_class("envoy.config.cluster.v3.Cluster.TransportSocketMatch")
HttpProtocolOptions = message_class("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")

PASSTHROUGH_CLUSTER = "PassthroughCluster"
BLACK_HOLE_CLUSTER = "BlackHoleCluster"

_HTTP_OPTIONS_KEY = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UNLIMITED = 2**32 - 1
_PASSTHROUGH_IDLE_SECONDS = 300


@query
def outbound_clusters(db: Database, scope: Scope) -> tuple[Resource, ...]:
    """Return every outbound cluster of a scope."""
    found = [cluster for ns in service_namespaces(db) for cluster in namespace_clusters(db, ns, scope.viewer)]
    return (*found, *fixed_clusters(db))


@query
def namespace_clusters(db: Database, namespace: str, viewer: str) -> tuple[Resource, ...]:
    """Return the clusters of the services of one namespace that a viewer sees."""
    refs = visible_services(db, namespace, viewer)
    return tuple(cluster for ref in refs for cluster in service_clusters(db, ref))


@query
def service_clusters(db: Database, ref: ObjectRef) -> tuple[Resource, ...]:
    """Return the clusters of a service, one for each port."""
    service = find_service(db, ref)
    if service is None:
        return ()
    return tuple(_build_service_cluster(db, service, port) for port in service.ports)


@query
def fixed_clusters(db: Database) -> tuple[Resource, ...]:
    """Return the clusters for what is not declared: passed on as it came, or refused."""
    timeout = mesh_settings(db).connect_timeout
    black_hole = Cluster(
        name=BLACK_HOLE_CLUSTER,
        alt_stat_name=f"{BLACK_HOLE_CLUSTER};",
        type="STATIC",
        connect_timeout=build_duration(timeout),
    )
    return (build_resource(black_hole), build_resource(build_passthrough(PASSTHROUGH_CLUSTER, mesh_settings(db))))


def build_passthrough(name: str, settings: MeshSettings) -> EnvoyMessage:
    """Return a cluster that goes where the connection was going, in the protocol in which it came."""
    cluster = build_original_destination(name, settings)
    options = _build_downstream_protocol()
    options.common_http_protocol_options.idle_timeout.FromSeconds(_PASSTHROUGH_IDLE_SECONDS)
    set_http_options(cluster, options)
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
                {"host": service.host, "name": service.ref.name, "namespace": service.ref.namespace}
                for service in services
            ]
        }
    )


def set_protocol(cluster: EnvoyMessage, protocol: Protocol, *, upgraded: bool = False) -> None:
    """Make a cluster speak a port's protocol, or HTTP/2 where HTTP/1.1 is `upgraded`."""
    if protocol.is_http2 or upgraded:
        options = HttpProtocolOptions(explicit_http_config={"http2_protocol_options": {"allow_connect": True}})
        set_http_options(cluster, options)
    elif protocol.is_detected:
        set_http_options(cluster, _build_downstream_protocol())


def set_http_options(cluster: EnvoyMessage, options: EnvoyMessage) -> None:
    """Set how a cluster speaks HTTP."""
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS_KEY].CopyFrom(pack_any(options))


def _build_downstream_protocol() -> EnvoyMessage:
    return HttpProtocolOptions(
        use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": {}}
    )


def _build_circuit_breakers() -> EnvoyMessage:
    limit = {"value": _UNLIMITED}
    threshold = {
        "max_connections": limit,
        "max_pending_requests": limit,
        "max_requests": limit,
        "max_retries": limit,
    }
    return CircuitBreakers(thresholds=[threshold])


def _build_service_cluster(db: Database, service: Service, port: ServicePort) -> Resource:
    settings = mesh_settings(db)
    name = format_cluster_name("outbound", port.number, "", service.host)
    cluster = build_original_destination(name, settings)
    cluster.common_lb_config.healthy_panic_threshold.SetInParent()
    if not service.headless:
        cluster.type, cluster.lb_policy = Cluster.EDS, Cluster.LEAST_REQUEST
        cluster.eds_cluster_config.eds_config.CopyFrom(build_ads_source())
        cluster.eds_cluster_config.service_name = name
    set_metadata(cluster, [service])
    everyone = settings.auto_mtls and takes_mutual_tls(db, service.ref, port.number)
    upgraded = (
        port.protocol is Protocol.HTTP
        and settings.upgrade_to_http2
        and settings.auto_mtls
        and (everyone is None or everyone)
    )
    set_protocol(cluster, port.protocol, upgraded=upgraded)
    if settings.auto_mtls and (everyone or not service.headless):
        tls = build_upstream_tls(
            identities(db, service.ref, port.number),
            format_sni(port.number, "", service.host),
            _select_alpn(port.protocol, upgraded=upgraded),
        )
        if service.headless:
            cluster.transport_socket.CopyFrom(tls)
        else:
            cluster.transport_socket_matches.extend(_build_matches(tls))
    return build_resource(cluster)


def _select_alpn(protocol: Protocol, *, upgraded: bool) -> tuple[str, ...]:
    if protocol.is_http2 or upgraded:
        return HTTP2_ALPN
    return STREAM_ALPN if protocol.is_stream else HTTP1_ALPN


def _build_matches(tls: EnvoyMessage) -> list[EnvoyMessage]:
    mutual = TransportSocketMatch(name="tlsMode-istio", transport_socket=tls)
    mutual.match[TLS_MODE_KEY] = "istio"
    plain = TransportSocketMatch(name="tlsMode-disabled", transport_socket=build_plain_text(), match={})
    return [mutual, plain]
