"""How proxies start: `defaultConfig` of the mesh configuration and the annotation `proxy.istio.io/config`.

The defaults are those that istiod starts from. An annotation replaces whole fields, never parts of them.
Source: istio/api `mesh/v1alpha1/proxy.proto`; istio `pkg/config/mesh`, DefaultProxyConfig.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from lateen.api.envoy_filter import ProxyImage
from lateen.api.telemetry import CustomTag
from lateen.api.tls_settings import ClientTLSSettings
from lateen.api.traffic_policy import TcpKeepalive
from lateen.api.view import Int32, ProtoView, Struct, UInt32
from lateen.api.workload import ReadinessProbe

ForwardClientCertDetails = Literal[
    "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
]


class TracerAddress(ProtoView, frozen=True, kw_only=True):
    """Where a tracer listens."""

    address: str = ""
    access_token: str = ""


class ProxyTracing(ProtoView, frozen=True, kw_only=True):
    """Tracing as proxies start with it."""

    ONE_OF = (("zipkin", "lightstep", "datadog", "stackdriver", "open_census_agent"),)

    zipkin: TracerAddress | None = None
    lightstep: TracerAddress | None = None
    datadog: TracerAddress | None = None
    stackdriver: Struct | None = None
    open_census_agent: Struct | None = None
    custom_tags: Mapping[str, CustomTag] = {}
    max_path_tag_length: UInt32 = 0
    sampling: float = 0.0
    tls_settings: ClientTLSSettings | None = None
    enable_istio_tags: bool | None = None


class ProxyProtocolConfiguration(ProtoView, frozen=True, kw_only=True):
    """Turns on the PROXY protocol at a gateway by being there."""


class Topology(ProtoView, frozen=True, kw_only=True):
    """What stands in front of a gateway."""

    num_trusted_proxies: UInt32 = 0
    forward_client_cert_details: ForwardClientCertDetails = "UNDEFINED"
    proxy_protocol: ProxyProtocolConfiguration | None = None


class RemoteService(ProtoView, frozen=True, kw_only=True):
    """A service that proxies send data to."""

    address: str = ""
    tls_settings: ClientTLSSettings | None = None
    tcp_keepalive: TcpKeepalive | None = None


class ProxyStatsMatcher(ProtoView, frozen=True, kw_only=True):
    """Envoy's statistics that are made beside the usual ones."""

    inclusion_prefixes: tuple[str, ...] = ()
    inclusion_suffixes: tuple[str, ...] = ()
    inclusion_regexps: tuple[str, ...] = ()


class HeaderSwitch(ProtoView, frozen=True, kw_only=True):
    """Whether a header is left out; some carry a value of their own."""

    disabled: bool | None = None
    value: str = ""


class MetadataExchangeHeaders(ProtoView, frozen=True, kw_only=True):
    """Whether the peer metadata headers go to hosts outside the mesh."""

    mode: Literal["UNDEFINED", "IN_MESH"] = "UNDEFINED"


class SetCurrentClientCertDetails(ProtoView, frozen=True, kw_only=True):
    """What of the client certificate X-Forwarded-Client-Cert says."""

    subject: bool | None = None
    cert: bool | None = None
    chain: bool | None = None
    dns: bool | None = None
    uri: bool | None = None


class ProxyHeaders(ProtoView, frozen=True, kw_only=True):
    """Headers that proxies add."""

    forwarded_client_cert: ForwardClientCertDetails = "UNDEFINED"
    set_current_client_cert_details: SetCurrentClientCertDetails | None = None
    request_id: HeaderSwitch | None = None
    server: HeaderSwitch | None = None
    attempt_count: HeaderSwitch | None = None
    envoy_debug_headers: HeaderSwitch | None = None
    metadata_exchange_headers: MetadataExchangeHeaders | None = None
    preserve_http1_header_case: bool | None = None
    x_forwarded_host: HeaderSwitch | None = None
    x_forwarded_port: HeaderSwitch | None = None


class ProxySettings(ProtoView, frozen=True, kw_only=True):
    """Istio's mesh-wide ProxyConfig, by another name than the kind ProxyConfig."""

    ONE_OF = (("service_cluster", "tracing_service_name"),)

    config_path: str = "./etc/istio/proxy"
    binary_path: str = "/usr/local/bin/envoy"
    service_cluster: str | None = "istio-proxy"
    tracing_service_name: (
        Literal["APP_LABEL_AND_NAMESPACE", "CANONICAL_NAME_ONLY", "CANONICAL_NAME_AND_NAMESPACE"] | None
    ) = None
    drain_duration: timedelta = timedelta(seconds=45)
    parent_shutdown_duration: timedelta | None = None
    discovery_address: str = "istiod.istio-system.svc:15012"
    zipkin_address: str = ""
    statsd_udp_address: str = ""
    proxy_admin_port: Int32 = 15000
    control_plane_auth_policy: Literal["NONE", "MUTUAL_TLS", "INHERIT"] = "MUTUAL_TLS"
    custom_config_file: str = ""
    stat_name_length: Int32 = 189
    concurrency: Int32 | None = None
    proxy_bootstrap_template_path: str = ""
    interception_mode: Literal["REDIRECT", "TPROXY", "NONE"] = "REDIRECT"
    tracing: ProxyTracing | None = None
    envoy_access_log_service: RemoteService | None = None
    envoy_metrics_service: RemoteService | None = None
    proxy_metadata: Mapping[str, str] = {}
    runtime_values: Mapping[str, str] = {}
    status_port: Int32 = 15020
    extra_stat_tags: tuple[str, ...] = ()
    gateway_topology: Topology | None = None
    termination_drain_duration: timedelta = timedelta(seconds=5)
    mesh_id: str = ""
    readiness_probe: ReadinessProbe | None = None
    proxy_stats_matcher: ProxyStatsMatcher | None = None
    hold_application_until_proxy_starts: bool | None = None
    ca_certificates_pem: tuple[str, ...] = ()
    image: ProxyImage | None = None
    private_key_provider: Struct | None = None
    proxy_headers: ProxyHeaders | None = None
    file_flush_interval: timedelta | None = None
    file_flush_min_size_kb: UInt32 | None = None
    stats_eviction_interval: timedelta | None = None
