"""Extension providers of the mesh configuration: authorizers, tracers, log and metric sinks by name.

Source: istio/api `mesh/v1alpha1/config.proto`, MeshConfig.ExtensionProvider.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from msgspec import field

from lateen.api.view import ProtoView, Struct, UInt32


class ServiceAddress(ProtoView, frozen=True, kw_only=True):
    """A service of the mesh, as `[namespace/]host`, and its port: every provider that is reached has them."""

    service: str = ""
    port: UInt32 = 0


class ExtAuthzRequestBody(ProtoView, frozen=True, kw_only=True):
    """How much of a request's body an authorizer sees."""

    max_request_bytes: UInt32 = 0
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


class EnvoyExtAuthzHttp(ServiceAddress, frozen=True, kw_only=True):
    """An authorizer asked by HTTP."""

    timeout: timedelta | None = None
    path_prefix: str = ""
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_headers_in_check: tuple[str, ...] = ()
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: Mapping[str, str] = {}
    include_request_body_in_check: ExtAuthzRequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class EnvoyExtAuthzGrpc(ServiceAddress, frozen=True, kw_only=True):
    """An authorizer asked by gRPC."""

    timeout: timedelta | None = None
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_request_body_in_check: ExtAuthzRequestBody | None = None


class ProviderHeader(ProtoView, frozen=True, kw_only=True):
    """A header of requests to a provider; its value stands here or in an environment variable."""

    ONE_OF = (("value", "env_name"),)

    name: str = ""
    value: str | None = None
    env_name: str | None = None


class ZipkinTracing(ServiceAddress, frozen=True, kw_only=True):
    """A tracer that takes Zipkin's spans."""

    max_tag_length: UInt32 = 0
    enable_64bit_trace_id: bool = field(name="enable64bitTraceId", default=False)
    path: str = ""
    trace_context_option: Literal["USE_B3", "USE_B3_WITH_W3C_PROPAGATION"] = "USE_B3"
    timeout: timedelta | None = None
    headers: tuple[ProviderHeader, ...] = ()


class TokenTracing(ServiceAddress, frozen=True, kw_only=True):
    """A tracer that may need a token: Lightstep, Datadog, SkyWalking."""

    access_token: str = ""
    max_tag_length: UInt32 = 0


class HttpService(ProtoView, frozen=True, kw_only=True):
    """How spans are sent over HTTP."""

    path: str = ""
    timeout: timedelta | None = None
    headers: tuple[ProviderHeader, ...] = ()


class GrpcService(ProtoView, frozen=True, kw_only=True):
    """How spans are sent over gRPC."""

    timeout: timedelta | None = None
    initial_metadata: tuple[ProviderHeader, ...] = ()


class ResourceDetectors(ProtoView, frozen=True, kw_only=True):
    """Where resource attributes come from."""

    environment: Struct | None = None
    dynatrace: Struct | None = None


class DynatraceApi(ServiceAddress, frozen=True, kw_only=True):
    """Where Dynatrace's sampler gets its configuration."""

    http: HttpService | None = None


class DynatraceSampler(ProtoView, frozen=True, kw_only=True):
    """Samples as Dynatrace says."""

    tenant: str = ""
    cluster_id: int = 0
    root_spans_per_minute: UInt32 = 0
    http_service: DynatraceApi | None = None


class OpenTelemetryTracing(ServiceAddress, frozen=True, kw_only=True):
    """A tracer that takes OTLP."""

    max_tag_length: UInt32 = 0
    http: HttpService | None = None
    grpc: GrpcService | None = None
    resource_detectors: ResourceDetectors | None = None
    dynatrace_sampler: DynatraceSampler | None = None
    service_attribute_enrichment: Literal["ISTIO_CANONICAL", "OTEL_SEMANTIC_CONVENTIONS"] = "ISTIO_CANONICAL"


class LogFormat(ProtoView, frozen=True, kw_only=True):
    """Format of access logs: text, or a JSON object of format strings."""

    ONE_OF = (("text", "labels"),)

    text: str | None = None
    labels: Struct | None = None


class EnvoyFileAccessLog(ProtoView, frozen=True, kw_only=True):
    """Access logs in a file; unset is standard output."""

    path: str = ""
    log_format: LogFormat | None = None
    omit_empty_values: bool = False


class EnvoyGrpcAccessLog(ServiceAddress, frozen=True, kw_only=True):
    """Access logs sent to Envoy's access log service."""

    log_name: str = ""
    filter_state_objects_to_log: tuple[str, ...] = ()
    additional_request_headers_to_log: tuple[str, ...] = ()
    additional_response_headers_to_log: tuple[str, ...] = ()
    additional_response_trailers_to_log: tuple[str, ...] = ()


class OtelLogFormat(ProtoView, frozen=True, kw_only=True):
    """Body and attributes of a log record."""

    text: str = ""
    labels: Struct | None = None


class EnvoyOpenTelemetryLog(ServiceAddress, frozen=True, kw_only=True):
    """Access logs sent by OTLP."""

    log_name: str = ""
    log_format: OtelLogFormat | None = None


class SdsProvider(ServiceAddress, frozen=True, kw_only=True):
    """A source of secrets."""

    name: str = ""


class ExtensionProvider(ProtoView, frozen=True, kw_only=True):
    """A provider that policies refer to by name; exactly one of the kinds is set."""

    ONE_OF = (
        (
            "envoy_ext_authz_http",
            "envoy_ext_authz_grpc",
            "zipkin",
            "lightstep",
            "datadog",
            "stackdriver",
            "opencensus",
            "skywalking",
            "opentelemetry",
            "prometheus",
            "envoy_file_access_log",
            "envoy_http_als",
            "envoy_tcp_als",
            "envoy_otel_als",
            "sds",
        ),
    )

    name: str = ""
    envoy_ext_authz_http: EnvoyExtAuthzHttp | None = None
    envoy_ext_authz_grpc: EnvoyExtAuthzGrpc | None = None
    zipkin: ZipkinTracing | None = None
    lightstep: TokenTracing | None = None
    datadog: TokenTracing | None = None
    stackdriver: Struct | None = None
    opencensus: Struct | None = None
    skywalking: TokenTracing | None = None
    opentelemetry: OpenTelemetryTracing | None = None
    prometheus: Struct | None = None
    envoy_file_access_log: EnvoyFileAccessLog | None = None
    envoy_http_als: EnvoyGrpcAccessLog | None = None
    envoy_tcp_als: EnvoyGrpcAccessLog | None = None
    envoy_otel_als: EnvoyOpenTelemetryLog | None = None
    sds: SdsProvider | None = None
