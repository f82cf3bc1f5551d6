"""View of the mesh configuration: the YAML under key `mesh` of ConfigMap `istio` in the root namespace.

Flow: YAML text -> `yaml_loader.load` -> `codec.decode(document, MeshConfig)`. The defaults are those that
istiod starts from, so that an empty text is a working configuration.
Source: istio/api `mesh/v1alpha1/config.proto`; istio `pkg/config/mesh`, DefaultMeshConfig.
"""

from datetime import timedelta
from typing import Literal

from msgspec import field

from lateen.api.core import LabelSelector
from lateen.api.extension_provider import EnvoyFileAccessLog, ExtensionProvider
from lateen.api.http_route import HTTPRetry
from lateen.api.proxy_settings import ProxySettings
from lateen.api.tls_settings import ClientTLSSettings
from lateen.api.traffic_policy import LocalityLoadBalancerSetting, TcpKeepalive
from lateen.api.view import Int32, ProtoView, Struct


class OutboundTraffic(ProtoView, frozen=True, kw_only=True):
    """What sidecars do with traffic for unknown hosts."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"] = "REGISTRY_ONLY"
    tls: ClientTLSSettings | None = None


class InboundTraffic(ProtoView, frozen=True, kw_only=True):
    """Where sidecars find the application: on the pod's address or on localhost."""

    mode: Literal["PASSTHROUGH", "LOCALHOST"] = "PASSTHROUGH"


class ConfigSource(ProtoView, frozen=True, kw_only=True):
    """A further source of configuration."""

    address: str = ""
    tls_settings: ClientTLSSettings | None = None
    subscribed_resources: tuple[Literal["SERVICE_REGISTRY"], ...] = ()


class CertificateData(ProtoView, frozen=True, kw_only=True):
    """A further root certificate."""

    ONE_OF = (("pem", "spiffe_bundle_url"),)

    pem: str | None = None
    spiffe_bundle_url: str | None = None
    cert_signers: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()


class CertificateAuthority(ProtoView, frozen=True, kw_only=True):
    """An external certificate authority."""

    address: str = ""
    tls_settings: ClientTLSSettings | None = None
    request_timeout: timedelta | None = None
    istiod_side: bool = False


class ServiceLocality(ProtoView, frozen=True, kw_only=True):
    """Whether services stay within their cluster."""

    cluster_local: bool = False


class ServiceSettings(ProtoView, frozen=True, kw_only=True):
    """Settings of the services that some hosts name."""

    settings: ServiceLocality | None = None
    hosts: tuple[str, ...] = ()


class ServiceScopeConfig(ProtoView, frozen=True, kw_only=True):
    """Whether services of selected namespaces are seen by other clusters."""

    namespace_selector: LabelSelector | None = None
    services_selector: LabelSelector | None = None
    scope: Literal["LOCAL", "GLOBAL"] = "LOCAL"


class DefaultProviders(ProtoView, frozen=True, kw_only=True):
    """Providers that are used where no Telemetry names others."""

    tracing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    access_logging: tuple[str, ...] = ()


class ProxyPathNormalization(ProtoView, frozen=True, kw_only=True):
    """How request paths are normalised before anything matches them; DEFAULT is BASE."""

    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"


class TLSConfig(ProtoView, frozen=True, kw_only=True):
    """Limits of TLS."""

    min_protocol_version: Literal["TLS_AUTO", "TLSV1_2", "TLSV1_3"] = "TLS_AUTO"
    ecdh_curves: tuple[str, ...] = ()
    cipher_suites: tuple[str, ...] = ()


DEFAULT_EXTENSION_PROVIDERS = (
    ExtensionProvider(name="prometheus", prometheus={}),
    ExtensionProvider(name="stackdriver", stackdriver={}),
    ExtensionProvider(name="envoy", envoy_file_access_log=EnvoyFileAccessLog(path="/dev/stdout")),
)
"""Providers that every mesh has; those of the user join them and win by name."""


class MeshConfig(ProtoView, frozen=True, kw_only=True):
    """Settings of the whole mesh."""

    proxy_listen_port: Int32 = 15001
    proxy_inbound_listen_port: Int32 = 15006
    proxy_http_port: Int32 = 0
    connect_timeout: timedelta = timedelta(seconds=10)
    protocol_detection_timeout: timedelta = timedelta(0)
    tcp_keepalive: TcpKeepalive | None = None
    ingress_class: str = "istio"
    ingress_service: str = "istio-ingressgateway"
    ingress_controller_mode: Literal["UNSPECIFIED", "OFF", "DEFAULT", "STRICT"] = "STRICT"
    ingress_selector: str = "ingressgateway"
    enable_tracing: bool = True
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: Literal["TEXT", "JSON"] = "TEXT"
    enable_envoy_access_log_service: bool = False
    disable_envoy_listener_log: bool = False
    default_config: ProxySettings = ProxySettings()
    outbound_traffic_policy: OutboundTraffic = OutboundTraffic(mode="ALLOW_ANY")
    inbound_traffic_policy: InboundTraffic = InboundTraffic()
    config_sources: tuple[ConfigSource, ...] = ()
    enable_auto_mtls: bool = True
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    ca_certificates: tuple[CertificateData, ...] = ()
    default_service_export_to: tuple[str, ...] = ("*",)
    default_virtual_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
    root_namespace: str = "istio-system"
    locality_lb_setting: LocalityLoadBalancerSetting | None = LocalityLoadBalancerSetting(enabled=True)
    dns_refresh_rate: timedelta = timedelta(seconds=60)
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] = "DO_NOT_UPGRADE"
    inbound_cluster_stat_name: str = ""
    outbound_cluster_stat_name: str = ""
    certificates: tuple[Struct, ...] = ()
    service_settings: tuple[ServiceSettings, ...] = ()
    service_scope_configs: tuple[ServiceScopeConfig, ...] = ()
    enable_prometheus_merge: bool = True
    verify_certificate_at_client: bool = True
    ca: CertificateAuthority | None = None
    extension_providers: tuple[ExtensionProvider, ...] = DEFAULT_EXTENSION_PROVIDERS
    default_providers: DefaultProviders = DefaultProviders()
    discovery_selectors: tuple[LabelSelector, ...] = ()
    path_normalization: ProxyPathNormalization = ProxyPathNormalization()
    default_http_retry_policy: HTTPRetry | None = None
    mesh_mtls: TLSConfig | None = field(name="meshMTLS", default=None)
    tls_defaults: TLSConfig | None = None
    compliance_policy: str = ""
