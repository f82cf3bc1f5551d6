"""View of a Telemetry: metrics, access logs and traces of workloads.

Source: istio/api `telemetry/v1alpha1/telemetry.proto`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.core import ObjectMeta
from lateen.api.policy_target import IstioStatus, PolicyTargetReference, TargetReferences, WorkloadSelector
from lateen.api.view import Nullable, ProtoView, Required, Text

WorkloadMode = Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"]
IstioMetric = Literal[
    "ALL_METRICS",
    "REQUEST_COUNT",
    "REQUEST_DURATION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TCP_OPENED_CONNECTIONS",
    "TCP_CLOSED_CONNECTIONS",
    "TCP_SENT_BYTES",
    "TCP_RECEIVED_BYTES",
    "GRPC_REQUEST_MESSAGES",
    "GRPC_RESPONSE_MESSAGES",
]


class ProviderRef(ProtoView, frozen=True, kw_only=True):
    """A provider of the mesh configuration."""

    name: Required[Text] = ""
    """Name of the provider."""


class TracingSelector(ProtoView, frozen=True, kw_only=True):
    """Which traffic is traced."""

    mode: WorkloadMode = "CLIENT_AND_SERVER"
    """Side of the traffic."""


class TagLiteral(ProtoView, frozen=True, kw_only=True):
    """A fixed value."""

    value: Required[Text] = ""
    """The value."""


class TagEnvironment(ProtoView, frozen=True, kw_only=True):
    """A value from the proxy's environment."""

    name: Required[Text] = ""
    """Name of the variable."""
    default_value: str = ""
    """Value when it is not set."""


class TagHeader(ProtoView, frozen=True, kw_only=True):
    """A value from a request header."""

    name: Required[Text] = ""
    """Name of the header."""
    default_value: str = ""
    """Value when it is missing."""


class TagFormatter(ProtoView, frozen=True, kw_only=True):
    """A value from Envoy's access log operators."""

    value: Required[Text] = ""
    """Format string."""


class CustomTag(ProtoView, frozen=True, kw_only=True):
    """Where the value of a tag comes from."""

    ONE_OF = (("literal", "environment", "header", "formatter"),)

    literal: TagLiteral | None = None
    """Fixed value."""
    environment: TagEnvironment | None = None
    """Environment variable."""
    header: TagHeader | None = None
    """Request header."""
    formatter: TagFormatter | None = None
    """Format string."""


class Tracing(ProtoView, frozen=True, kw_only=True):
    """Traces of some traffic."""

    match: TracingSelector | None = None
    """The traffic; none means all."""
    providers: tuple[ProviderRef, ...] = ()
    """Where spans go; none means the default of the mesh."""
    random_sampling_percentage: Nullable[Annotated[float, Meta(ge=0, le=100)] | None] = None
    """Share of requests that are traced; unset follows the mesh, which has 1."""
    disable_span_reporting: Nullable[bool | None] = None
    """Whether no spans are sent."""
    disable_context_propagation: Nullable[bool | None] = None
    """Whether trace headers are left alone."""
    custom_tags: Mapping[str, CustomTag] = {}
    """Tag -> its value, for each span."""
    use_request_id_for_trace_sampling: Nullable[bool | None] = None
    """Whether the request id carries the sampling decision."""
    enable_istio_tags: Nullable[bool | None] = None
    """Whether Istio's own tags are set."""


class MetricSelector(ProtoView, frozen=True, kw_only=True):
    """Which metrics of which traffic."""

    ONE_OF = (("metric", "custom_metric"),)

    metric: IstioMetric | None = None
    """One of Istio's metrics."""
    custom_metric: Text | None = None
    """Any other metric by name."""
    mode: WorkloadMode = "CLIENT_AND_SERVER"
    """Side of the traffic."""


class TagOverride(ProtoView, frozen=True, kw_only=True):
    """A change of a tag."""

    operation: Literal["UPSERT", "REMOVE"] = "UPSERT"
    """Whether it is set or removed."""
    value: str = ""
    """Expression of the value."""


class MetricsOverrides(ProtoView, frozen=True, kw_only=True):
    """Changes of some metrics."""

    match: MetricSelector | None = None
    """The metrics; none means all."""
    disabled: Nullable[bool | None] = None
    """Whether they are off."""
    tag_overrides: Mapping[str, TagOverride] = {}
    """Tag -> its change."""


class Metrics(ProtoView, frozen=True, kw_only=True):
    """Metrics for some providers."""

    providers: tuple[ProviderRef, ...] = ()
    """Where metrics go; none means the default of the mesh."""
    overrides: tuple[MetricsOverrides, ...] = ()
    """Changes, in order."""
    reporting_interval: timedelta | None = None
    """Time between reports of TCP connections."""


class LogSelector(ProtoView, frozen=True, kw_only=True):
    """Which traffic is logged."""

    mode: WorkloadMode = "CLIENT_AND_SERVER"
    """Side of the traffic."""


class AccessLoggingFilter(ProtoView, frozen=True, kw_only=True):
    """Which requests are logged."""

    expression: str = ""
    """CEL expression over the request and response."""


class AccessLogging(ProtoView, frozen=True, kw_only=True):
    """Access logs of some traffic."""

    match: LogSelector | None = None
    """The traffic; none means all."""
    providers: tuple[ProviderRef, ...] = ()
    """Where logs go; none means the default of the mesh."""
    disabled: Nullable[bool | None] = None
    """Whether they are off."""
    filter: AccessLoggingFilter | None = None
    """Which requests are logged."""


class TelemetrySpec(ProtoView, frozen=True, kw_only=True):
    """What workloads tell of their traffic."""

    selector: WorkloadSelector | None = None
    """The workloads it applies to; none means the namespace, or the mesh in the root namespace."""
    target_ref: PolicyTargetReference | None = None
    """The object it is attached to."""
    target_refs: TargetReferences = ()
    """The objects it is attached to."""
    tracing: tuple[Tracing, ...] = ()
    """Traces."""
    metrics: tuple[Metrics, ...] = ()
    """Metrics."""
    access_logging: tuple[AccessLogging, ...] = ()
    """Access logs."""


class Telemetry(ProtoView, frozen=True, kw_only=True):
    """A Telemetry."""

    metadata: ObjectMeta = ObjectMeta()
    spec: TelemetrySpec = TelemetrySpec()
    status: IstioStatus = IstioStatus()
