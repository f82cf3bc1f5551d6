"""The clusters of a service: one for each port, and one for each subset of each port.

(Service, port, subset, DestinationRule) -> `envoy.config.cluster.v3.Cluster`.

| resolution | discovery | mutual TLS |
| --- | --- | --- |
| endpoints | EDS | endpoint by endpoint, by the metadata `tlsMode` |
| DNS | the names it lists, or its host, resolved again and again | likewise |
| none (headless) | ORIGINAL_DST: the address that the app chose | if every backend takes it |

| DestinationRule `tls` | connections |
| --- | --- |
| unset | mutual TLS as above, never out of the mesh |
| DISABLE | plain text |
| ISTIO_MUTUAL | mutual TLS of the mesh, to whomever |
| SIMPLE, MUTUAL | TLS as the settings say |

Invariants: the server must show the identity of one of the service's own backends. Between sidecars HTTP/1.1
travels over HTTP/2 where no backend is without sidecar; otherwise a cluster speaks what its port declares.
Source: Istio's pilot/pkg/networking/core/cluster*.go (names, defaults, thresholds); Envoy's cluster.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lateen.api.destination_rule import Subset, TrafficPolicy
from lateen.base.names import ObjectRef, format_cluster_name
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.incremental.query import query
from lateen.mesh.destination_rule import DestinationRule, merge_rules, select_policy
from lateen.mesh.endpoint import identities, takes_mutual_tls
from lateen.mesh.protocol import Protocol
from lateen.mesh.rows import Port, Resolution, ServiceRef
from lateen.mesh.service import Service, find_service
from lateen.mesh.visibility import mesh_settings
from lateen.translate.cluster import (
    build_original_destination,
    set_http_options,
    set_metadata,
)
from lateen.translate.endpoint import TLS_MODE_KEY, build_load_assignment
from lateen.translate.http_route import format_config_path
from lateen.translate.socket_address import build_ads_source, build_duration
from lateen.translate.tls import (
    HTTP1_ALPN,
    HTTP2_ALPN,
    STREAM_ALPN,
    build_plain_text,
    build_upstream_tls,
    format_sni,
)
from lateen.translate.traffic_policy import apply_policy, build_http2_options, build_http_limits
from lateen.translate.upstream_tls import build_client_tls, verifies_by_host
from lateen.xds.resources import Resource, build_resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Cluster = message_class("envoy.config.cluster.v3.Cluster")
HttpProtocolOptions = message_class("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
TransportSocketMatch = message_class("envoy.config.cluster.v3.Cluster.TransportSocketMatch")

_DNS_JITTER_SECONDS = 0.1


@query
def service_clusters(db: Database, ref: ServiceRef, rules: tuple[ObjectRef, ...]) -> tuple[Resource, ...]:
    """Return the clusters of a service for clients for whom these DestinationRules hold."""
    service = find_service(db, ref)
    if service is None:
        return ()
    rule = merge_rules(db, rules)
    subsets: tuple[Subset | None, ...] = (None, *(rule.subsets if rule is not None else ()))
    return tuple(
        build_resource(_build_cluster(db, service, port, rule, subset)) for port in service.ports for subset in subsets
    )


def _build_cluster(
    db: Database, service: Service, port: Port, rule: DestinationRule | None, subset: Subset | None
) -> EnvoyMessage:
    settings = mesh_settings(db)
    policy = select_policy(rule, subset, port.number)
    name = format_cluster_name("outbound", port.number, subset.name if subset else "", service.host)
    cluster = build_original_destination(name, settings)
    cluster.ClearField("circuit_breakers")
    cluster.common_lb_config.healthy_panic_threshold.SetInParent()
    _set_discovery(db, cluster, service, port, subset)
    apply_policy(cluster, policy, settings.connect_timeout)
    set_metadata(cluster, [service])
    metadata = cluster.metadata.filter_metadata["istio"]
    if service.external:
        metadata["external"] = True
    if rule is not None:
        metadata["config"] = format_config_path(rule.refs[0])
    if subset is not None:
        metadata["subset"] = subset.name
    upgraded = _is_upgraded(db, service, port, policy)
    _set_http(cluster, port.protocol, policy, upgraded=upgraded)
    _set_tls(db, cluster, service, port, policy, subset.name if subset else "", upgraded=upgraded)
    return cluster


def _set_discovery(db: Database, cluster: EnvoyMessage, service: Service, port: Port, subset: Subset | None) -> None:
    if service.resolution is Resolution.ENDPOINTS:
        cluster.type = Cluster.EDS
        cluster.eds_cluster_config.eds_config.CopyFrom(build_ads_source())
        cluster.eds_cluster_config.service_name = cluster.name
    elif service.resolution in {Resolution.DNS, Resolution.DNS_ROUND_ROBIN}:
        every = service.resolution is Resolution.DNS
        cluster.type = Cluster.STRICT_DNS if every else Cluster.LOGICAL_DNS
        cluster.load_assignment.CopyFrom(build_load_assignment(db, service, port, cluster.name, subset))
        cluster.dns_lookup_family = Cluster.V4_ONLY
        cluster.dns_refresh_rate.CopyFrom(build_duration(mesh_settings(db).dns_refresh_rate))
        cluster.dns_jitter.FromMilliseconds(int(_DNS_JITTER_SECONDS * 1000))
        cluster.respect_dns_ttl = True


def _is_upgraded(db: Database, service: Service, port: Port, policy: TrafficPolicy) -> bool:
    """Whether HTTP/1.1 goes on as HTTP/2."""
    pool = policy.connection_pool
    wish = pool.http.h2_upgrade_policy if pool is not None and pool.http is not None else "DEFAULT"
    if wish == "UPGRADE":
        return port.protocol is Protocol.HTTP or port.protocol.is_detected
    settings = mesh_settings(db)
    if wish == "DO_NOT_UPGRADE" or port.protocol is not Protocol.HTTP or not settings.upgrade_to_http2:
        return False
    mutual = policy.tls.mode == "ISTIO_MUTUAL" if policy.tls is not None else settings.auto_mtls
    everyone = takes_mutual_tls(db, service.ref, port.number)
    return mutual and not service.external and everyone is not False


def _set_http(cluster: EnvoyMessage, protocol: Protocol, policy: TrafficPolicy, *, upgraded: bool) -> None:
    """Make a cluster speak a port's protocol, within the limits of its policy."""
    pool = policy.connection_pool
    limits = build_http_limits(pool)
    fields: dict[str, Any] = {"common_http_protocol_options": limits} if limits else {}
    if pool is not None and pool.http is not None and pool.http.use_client_protocol:
        fields["use_downstream_protocol_config"] = _both_protocols(policy)
    elif protocol.is_http2 or upgraded:
        fields["explicit_http_config"] = {"http2_protocol_options": build_http2_options(pool)}
    elif protocol.is_detected:
        fields["use_downstream_protocol_config"] = _both_protocols(policy)
    if verifies_by_host(policy.tls):
        fields["upstream_http_protocol_options"] = {
            "auto_sni": True,
            "auto_san_validation": not policy.tls.insecure_skip_verify if policy.tls is not None else True,
        }
    if not fields or protocol.is_stream:
        return
    if "explicit_http_config" not in fields and "use_downstream_protocol_config" not in fields:
        fields["explicit_http_config"] = {"http_protocol_options": {}}
    set_http_options(cluster, HttpProtocolOptions(**fields))


def _both_protocols(policy: TrafficPolicy) -> dict[str, Any]:
    return {"http_protocol_options": {}, "http2_protocol_options": build_http2_options(policy.connection_pool)}


def _set_tls(
    db: Database,
    cluster: EnvoyMessage,
    service: Service,
    port: Port,
    policy: TrafficPolicy,
    subset: str,
    *,
    upgraded: bool,
) -> None:
    tls, settings = policy.tls, mesh_settings(db)
    if tls is not None and tls.mode in {"SIMPLE", "MUTUAL"}:
        cluster.transport_socket.CopyFrom(build_client_tls(tls, http2=port.protocol.is_http2 or upgraded))
        return
    everyone = takes_mutual_tls(db, service.ref, port.number)
    automatic = tls is None and settings.auto_mtls and not service.external
    original = cluster.type == Cluster.ORIGINAL_DST
    if not automatic and (tls is None or tls.mode != "ISTIO_MUTUAL"):
        return
    if automatic and original and not everyone:
        return
    names = tls.subject_alt_names if tls is not None and tls.subject_alt_names else ()
    mutual = build_upstream_tls(
        names or (*identities(db, service.ref, port.number), *service.subject_alt_names),
        (tls.sni if tls is not None else "") or format_sni(port.number, subset, service.host),
        _select_alpn(port.protocol, upgraded=upgraded),
    )
    if automatic and not original:
        cluster.transport_socket_matches.extend(_build_matches(mutual))
    else:
        cluster.transport_socket.CopyFrom(mutual)


def _select_alpn(protocol: Protocol, *, upgraded: bool) -> tuple[str, ...]:
    if protocol.is_http2 or upgraded:
        return HTTP2_ALPN
    return STREAM_ALPN if protocol.is_stream else HTTP1_ALPN


def _build_matches(tls: EnvoyMessage) -> list[EnvoyMessage]:
    mutual = TransportSocketMatch(name="tlsMode-istio", transport_socket=tls)
    mutual.match[TLS_MODE_KEY] = "istio"
    plain = TransportSocketMatch(name="tlsMode-disabled", transport_socket=build_plain_text(), match={})
    return [mutual, plain]
