"""How connections to a service are pooled, balanced and watched: parts of DestinationRule, Sidecar and
MeshConfig.

Source: istio/api `networking/v1alpha3/destination_rule.proto`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta, field

from lateen.api.view import Int32, Nullable, ProtoView, Required, UInt32, UInt64

HttpStatusCode = Annotated[int, Meta(ge=100, le=599)]
Percentage = Annotated[float, Meta(ge=0, le=100)]


class TcpKeepalive(ProtoView, frozen=True, kw_only=True):
    """Keepalive probes on TCP connections; unset fields are the system's."""

    probes: UInt32 = 0
    """Unanswered probes before the connection counts as dead."""
    time: timedelta | None = None
    """Idle time before the first probe."""
    interval: timedelta | None = None
    """Time between probes."""


class TCPSettings(ProtoView, frozen=True, kw_only=True):
    """Limits of TCP connections."""

    max_connections: Int32 = 0
    """Most connections to the destination; unset is practically unlimited."""
    connect_timeout: timedelta | None = None
    """How long connecting may take; 10 s unless set."""
    tcp_keepalive: TcpKeepalive | None = None
    """Keepalive probes."""
    max_connection_duration: timedelta | None = None
    """Longest life of a connection."""
    idle_timeout: timedelta | None = None
    """Time without bytes after which a connection is closed."""


class Http2KeepAlive(ProtoView, frozen=True, kw_only=True):
    """PING frames on HTTP/2 connections."""

    interval: timedelta | None = None
    """Time between pings."""
    timeout: timedelta | None = None
    """How long the answer may take."""


class HTTPSettings(ProtoView, frozen=True, kw_only=True):
    """Limits of HTTP connections and requests."""

    http1_max_pending_requests: Int32 = 0
    """Most requests that wait for a connection."""
    http2_max_requests: Int32 = 0
    """Most requests in flight."""
    max_requests_per_connection: Int32 = 0
    """Requests after which a connection is closed; 0 is unlimited."""
    max_retries: Int32 = 0
    """Most retries in flight."""
    idle_timeout: timedelta | None = None
    """Time without requests after which a connection is closed."""
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = "DEFAULT"
    """Whether HTTP/1.1 goes on as HTTP/2."""
    use_client_protocol: bool = False
    """Whether the protocol of the client's request is kept."""
    max_concurrent_streams: Int32 = 0
    """Most streams on one HTTP/2 connection."""
    http2_keep_alive: Http2KeepAlive | None = None
    """PING frames."""


class ConnectionPoolSettings(ProtoView, frozen=True, kw_only=True):
    """Limits of connections to a destination."""

    tcp: TCPSettings | None = None
    """Limits of TCP, which HTTP uses too."""
    http: HTTPSettings | None = None
    """Limits of HTTP."""


class HTTPCookieAttribute(ProtoView, frozen=True, kw_only=True):
    """A further attribute of a cookie."""

    name: Required[str] = ""
    """Name, such as SameSite."""
    value: str = ""
    """Value; empty for a flag."""


class HTTPCookie(ProtoView, frozen=True, kw_only=True):
    """A cookie that keeps a client on one backend."""

    name: Required[str] = ""
    """Name of the cookie."""
    path: str = ""
    """Path of the cookie."""
    ttl: timedelta | None = None
    """Life of a cookie that the proxy makes; 0 s is a session cookie, unset makes none."""
    attributes: tuple[HTTPCookieAttribute, ...] = ()
    """Further attributes."""


class RingHash(ProtoView, frozen=True, kw_only=True):
    """Consistent hashing on a ring."""

    minimum_ring_size: UInt64 = 0
    """Least number of points on the ring; 1024 unless set."""


class MagLev(ProtoView, frozen=True, kw_only=True):
    """Consistent hashing with a Maglev table."""

    table_size: UInt64 = 0
    """Size of the table, a prime; 65537 unless set."""


class ConsistentHashLB(ProtoView, frozen=True, kw_only=True):
    """Keeps requests with the same attribute on the same backend."""

    ONE_OF = (
        ("http_header_name", "http_cookie", "use_source_ip", "http_query_parameter_name"),
        ("ring_hash", "maglev"),
    )

    http_header_name: str | None = None
    """Hash of a request header."""
    http_cookie: HTTPCookie | None = None
    """Hash of a cookie."""
    use_source_ip: bool | None = None
    """Hash of the client's address."""
    http_query_parameter_name: str | None = None
    """Hash of a query parameter."""
    ring_hash: RingHash | None = None
    """Ring hash, the default."""
    maglev: MagLev | None = None
    """Maglev."""
    minimum_ring_size: UInt64 = 0
    """Older place of `ringHash.minimumRingSize`."""


class BackendUtilizationLB(ProtoView, frozen=True, kw_only=True):
    """Weighs backends by the load they report."""

    metric_names_for_computing_utilization: tuple[str, ...] = ()
    """Reported metrics, the largest of which counts."""
    weight_stabilization_period: timedelta | None = None
    """How long reports must come before they count."""
    weight_expiration_period: timedelta | None = None
    """Age at which a report stops to count."""
    weight_update_period: timedelta | None = None
    """Time between two computations of weights."""
    error_utilization_penalty_percent: UInt32 = 0
    """How much errors lower the weight."""


class Distribute(ProtoView, frozen=True, kw_only=True):
    """Shares of the traffic that starts in one place."""

    from_: str = field(name="from", default="")
    """Where traffic starts, as `region/zone/subzone`."""
    to: Mapping[str, UInt32] = {}
    """Locality -> percent; the sum is 100."""


class Failover(ProtoView, frozen=True, kw_only=True):
    """Where traffic goes when a region fails."""

    from_: str = field(name="from", default="")
    """Region that fails."""
    to: str = ""
    """Region that takes over."""


class LocalityLoadBalancerSetting(ProtoView, frozen=True, kw_only=True):
    """Prefers near backends; at most one of its lists may be set, beside failoverPriority with failover."""

    distribute: tuple[Distribute, ...] = ()
    """Fixed shares."""
    failover: tuple[Failover, ...] = ()
    """Failover between regions; needs outlier detection."""
    failover_priority: tuple[str, ...] = ()
    """Labels, most important first, in which near backends agree with the client."""
    enabled: Nullable[bool | None] = None
    """Whether locality counts; unset follows the mesh."""


class ZoneAwareLoadBalancerSetting(ProtoView, frozen=True, kw_only=True):
    """Keeps traffic within a zone as long as load stays even."""

    enabled: Nullable[bool | None] = None
    """Whether zones count."""
    min_cluster_size: Nullable[Annotated[int, Meta(ge=1, le=2**32 - 1)] | None] = None
    """Least number of backends for zones to count."""
    failover: tuple[Failover, ...] = ()
    """Failover between regions."""
    failover_priority: tuple[str, ...] = ()
    """Labels, most important first."""


class WarmupConfiguration(ProtoView, frozen=True, kw_only=True):
    """Raises the share of a new backend little by little."""

    duration: Required[timedelta | None] = None
    """How long it takes."""
    minimum_percent: Nullable[Percentage | None] = None
    """Share at the start."""
    aggression: Nullable[Annotated[float, Meta(ge=0)] | None] = None
    """Shape of the rise; 1 is a line."""


class LoadBalancerSettings(ProtoView, frozen=True, kw_only=True):
    """How requests are spread over backends."""

    ONE_OF = (("simple", "consistent_hash", "backend_utilization"),)

    simple: Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"] | None = None
    """An algorithm without settings; UNSPECIFIED and the old LEAST_CONN are LEAST_REQUEST."""
    consistent_hash: ConsistentHashLB | None = None
    """Consistent hashing."""
    backend_utilization: BackendUtilizationLB | None = None
    """Weights from reported load."""
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    """Locality; replaces the mesh's setting."""
    warmup_duration_secs: timedelta | None = None
    """Older form of `warmup.duration`."""
    warmup: WarmupConfiguration | None = None
    """Gentle start of new backends."""
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    """Zone awareness."""


class OutlierDetection(ProtoView, frozen=True, kw_only=True):
    """Takes backends that fail out of balancing for a while."""

    consecutive_errors: Int32 = 0
    """Older form of `consecutiveGatewayErrors`."""
    split_external_local_origin_errors: bool = False
    """Whether failures of this side, such as timeouts, are counted apart."""
    consecutive_local_origin_failures: Nullable[UInt32 | None] = None
    """Failures of this side in a row that eject."""
    consecutive_gateway_errors: Nullable[UInt32 | None] = None
    """502, 503 and 504 in a row that eject."""
    consecutive_5xx_errors: Nullable[UInt32 | None] = field(name="consecutive5xxErrors", default=None)
    """Errors in a row that eject; 5 unless set, 0 turns it off."""
    interval: timedelta | None = None
    """Time between two sweeps; 10 s unless set."""
    base_ejection_time: timedelta | None = None
    """Ejection time, multiplied by the number of ejections; 30 s unless set."""
    max_ejection_percent: Int32 = 0
    """Largest share of backends that may be ejected; 10 unless set."""
    min_health_percent: Int32 = 0
    """Share of healthy backends below which all are used."""
    outlier_detection_http_error_codes: tuple[HttpStatusCode, ...] = ()
    """Status codes that count as errors."""
