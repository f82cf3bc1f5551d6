"""View of a DestinationRule: what happens to traffic after routing has chosen a service.

Flow: JSON document -> `codec.decode(document, DestinationRule)`.
Source: istio/api `networking/v1alpha3/destination_rule.proto`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.core import ObjectMeta
from lateen.api.networking import ExportTo, PortSelector
from lateen.api.policy_target import IstioStatus, WorkloadSelector
from lateen.api.tls_settings import ClientTLSSettings
from lateen.api.traffic_policy import ConnectionPoolSettings, LoadBalancerSettings, OutlierDetection, Percentage
from lateen.api.view import Nullable, ProtoView, Required, UInt32


class PortTrafficPolicy(ProtoView, frozen=True, kw_only=True):
    """The policy of one port; what it leaves out is the default, not the policy of the destination."""

    port: PortSelector | None = None
    """The port of the service."""
    load_balancer: LoadBalancerSettings | None = None
    """Balancing."""
    connection_pool: ConnectionPoolSettings | None = None
    """Limits of connections."""
    outlier_detection: OutlierDetection | None = None
    """Ejection of failing backends."""
    tls: ClientTLSSettings | None = None
    """TLS towards the backends."""


class TunnelSettings(ProtoView, frozen=True, kw_only=True):
    """Sends TCP through an HTTP proxy."""

    protocol: str = ""
    """CONNECT or POST; CONNECT unless set."""
    target_host: Required[str] = ""
    """Host that the proxy connects to."""
    target_port: Required[UInt32] = 0
    """Port that the proxy connects to."""


class ProxyProtocol(ProtoView, frozen=True, kw_only=True):
    """Sends the client's address ahead of the connection's bytes."""

    version: Literal["V1", "V2"] = "V1"
    """Version of the PROXY protocol."""


class RetryBudget(ProtoView, frozen=True, kw_only=True):
    """Limits retries to a share of requests."""

    percent: Nullable[Percentage | None] = None
    """Share of requests that may be retries; 20 unless set."""
    min_retry_concurrency: UInt32 = 0
    """Retries that are allowed at any load; 3 unless set."""
    budget_interval: timedelta | None = None
    """Time over which requests are counted."""


class TrafficPolicy(ProtoView, frozen=True, kw_only=True):
    """How traffic to a destination is treated."""

    load_balancer: LoadBalancerSettings | None = None
    """Balancing."""
    connection_pool: ConnectionPoolSettings | None = None
    """Limits of connections."""
    outlier_detection: OutlierDetection | None = None
    """Ejection of failing backends."""
    tls: ClientTLSSettings | None = None
    """TLS towards the backends; unset lets mutual TLS follow the backend."""
    port_level_settings: Annotated[tuple[PortTrafficPolicy, ...], Meta(max_length=4096)] = ()
    """Policies of single ports."""
    tunnel: TunnelSettings | None = None
    """Tunnel through an HTTP proxy."""
    proxy_protocol: ProxyProtocol | None = None
    """PROXY protocol towards the backends."""
    retry_budget: RetryBudget | None = None
    """Limit of retries."""


class Subset(ProtoView, frozen=True, kw_only=True):
    """A part of a service's pods, such as a version."""

    name: Required[str] = ""
    """Name that routes use."""
    labels: Mapping[str, str] = {}
    """Labels that the pods must have, beside the service's own selector."""
    traffic_policy: TrafficPolicy | None = None
    """Settings that replace those of the destination, one by one."""


class DestinationRuleSpec(ProtoView, frozen=True, kw_only=True):
    """Policies and subsets of one host."""

    host: Required[str] = ""
    """Name of the service, or a wildcard such as `*.example.com`."""
    traffic_policy: TrafficPolicy | None = None
    """The policy of all subsets and ports."""
    subsets: tuple[Subset, ...] = ()
    """Named parts of the service."""
    export_to: ExportTo = ()
    """Namespaces that the rule is visible in."""
    workload_selector: WorkloadSelector | None = None
    """Client workloads it applies to."""


class DestinationRule(ProtoView, frozen=True, kw_only=True):
    """A DestinationRule."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DestinationRuleSpec = DestinationRuleSpec()
    status: IstioStatus = IstioStatus()
