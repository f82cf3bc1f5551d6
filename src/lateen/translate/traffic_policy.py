"""What a DestinationRule's policy does to a cluster: balancing, limits of connections, ejection of failing backends.

(cluster, TrafficPolicy) -> the cluster, changed in place while it is being built.

| unset | is |
| --- | --- |
| load balancer | LEAST_REQUEST |
| connections, pending requests, requests, retries | practically unlimited, not Envoy's 1,024 |
| `minHealthPercent` | 0: no panic, ejected backends stay ejected |
| success rate ejection | off: only consecutive errors eject |

Source: Istio's pilot/pkg/networking/core/cluster_traffic_policy.go; the DestinationRule reference; Envoy's
cluster.proto.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from lateen.api.destination_rule import RetryBudget, TrafficPolicy
from lateen.api.traffic_policy import (
    ConnectionPoolSettings,
    ConsistentHashLB,
    HTTPSettings,
    LoadBalancerSettings,
    OutlierDetection,
    TCPSettings,
)
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.translate.socket_address import build_duration

Cluster = message_class("envoy.config.cluster.v3.Cluster")

UNLIMITED = 2**32 - 1

_SIMPLE = {
    "ROUND_ROBIN": Cluster.ROUND_ROBIN,
    "RANDOM": Cluster.RANDOM,
    "PASSTHROUGH": Cluster.CLUSTER_PROVIDED,
}
_DEFAULT_RING_SIZE = 1024
_DEFAULT_HTTP = HTTPSettings()
_DEFAULT_TCP = TCPSettings()
_WARMUP_MINIMUM_PERCENT = 10.0


def apply_policy(cluster: EnvoyMessage, policy: TrafficPolicy, connect_timeout: timedelta) -> None:
    """Apply balancing, limits and ejection; `connect_timeout` is the mesh's."""
    _apply_connection_pool(cluster, policy.connection_pool, policy.retry_budget, connect_timeout)
    if cluster.type != Cluster.ORIGINAL_DST:
        _apply_load_balancer(cluster, policy.load_balancer)
    if policy.outlier_detection is not None:
        _apply_outlier_detection(cluster, policy.outlier_detection)


def _apply_connection_pool(
    cluster: EnvoyMessage,
    pool: ConnectionPoolSettings | None,
    budget: RetryBudget | None,
    connect_timeout: timedelta,
) -> None:
    tcp = pool.tcp if pool is not None and pool.tcp is not None else _DEFAULT_TCP
    http = pool.http if pool is not None and pool.http is not None else _DEFAULT_HTTP
    cluster.connect_timeout.CopyFrom(build_duration(tcp.connect_timeout or connect_timeout))
    threshold = cluster.circuit_breakers.thresholds.add(
        max_connections={"value": _limit(tcp.max_connections)},
        max_pending_requests={"value": _limit(http.http1_max_pending_requests)},
        max_requests={"value": _limit(http.http2_max_requests)},
    )
    if budget is None:
        threshold.max_retries.value = _limit(http.max_retries)
    else:
        if budget.percent is not None:
            threshold.retry_budget.budget_percent.value = budget.percent
        threshold.retry_budget.min_retry_concurrency.value = budget.min_retry_concurrency or 3
    if tcp.tcp_keepalive is not None:
        keepalive = cluster.upstream_connection_options.tcp_keepalive
        keepalive.SetInParent()
        if tcp.tcp_keepalive.probes:
            keepalive.keepalive_probes.value = tcp.tcp_keepalive.probes
        if tcp.tcp_keepalive.time is not None:
            keepalive.keepalive_time.value = int(tcp.tcp_keepalive.time.total_seconds())
        if tcp.tcp_keepalive.interval is not None:
            keepalive.keepalive_interval.value = int(tcp.tcp_keepalive.interval.total_seconds())


def _limit(value: int) -> int:
    return value if value > 0 else UNLIMITED


def build_http_limits(pool: ConnectionPoolSettings | None) -> dict[str, Any]:
    """Return the limits of HTTP connections, as `common_http_protocol_options`; empty when there are none."""
    tcp = pool.tcp if pool is not None and pool.tcp is not None else _DEFAULT_TCP
    http = pool.http if pool is not None and pool.http is not None else _DEFAULT_HTTP
    fields: dict[str, Any] = {}
    idle = http.idle_timeout if http.idle_timeout is not None else tcp.idle_timeout
    if idle is not None:
        fields["idle_timeout"] = build_duration(idle)
    if http.max_requests_per_connection > 0:
        fields["max_requests_per_connection"] = {"value": http.max_requests_per_connection}
    if tcp.max_connection_duration is not None:
        fields["max_connection_duration"] = build_duration(tcp.max_connection_duration)
    return fields


def build_http2_options(pool: ConnectionPoolSettings | None) -> dict[str, Any]:
    """Return the options of HTTP/2 connections."""
    http = pool.http if pool is not None and pool.http is not None else _DEFAULT_HTTP
    fields: dict[str, Any] = {"allow_connect": True}
    if http.max_concurrent_streams > 0:
        fields["max_concurrent_streams"] = {"value": http.max_concurrent_streams}
    alive = http.http2_keep_alive
    if alive is not None and alive.interval is not None:
        fields["connection_keepalive"] = {"interval": build_duration(alive.interval)}
        fields["connection_keepalive"]["timeout"] = build_duration(alive.timeout or alive.interval)
    return fields


def _apply_load_balancer(cluster: EnvoyMessage, balancer: LoadBalancerSettings | None) -> None:
    cluster.lb_policy = Cluster.LEAST_REQUEST
    if balancer is None:
        return
    if balancer.consistent_hash is not None:
        _apply_consistent_hash(cluster, balancer.consistent_hash)
        return
    cluster.lb_policy = _SIMPLE.get(balancer.simple or "", Cluster.LEAST_REQUEST)
    if cluster.lb_policy == Cluster.CLUSTER_PROVIDED:
        cluster.type = Cluster.ORIGINAL_DST
        cluster.ClearField("eds_cluster_config")
        cluster.ClearField("load_assignment")
        return
    duration = balancer.warmup.duration if balancer.warmup is not None else balancer.warmup_duration_secs
    if duration is not None and cluster.lb_policy != Cluster.RANDOM:
        _apply_warmup(cluster, balancer, duration)


def _apply_warmup(cluster: EnvoyMessage, balancer: LoadBalancerSettings, duration: timedelta) -> None:
    least = cluster.lb_policy == Cluster.LEAST_REQUEST
    config = cluster.least_request_lb_config if least else cluster.round_robin_lb_config
    start = config.slow_start_config
    start.slow_start_window.FromTimedelta(duration)
    warmup = balancer.warmup
    minimum = None if warmup is None else warmup.minimum_percent
    start.min_weight_percent.value = _WARMUP_MINIMUM_PERCENT if minimum is None else minimum
    if warmup is not None and warmup.aggression is not None:
        start.aggression.default_value = warmup.aggression
        start.aggression.runtime_key = f"slow_start.{cluster.name}"


def _apply_consistent_hash(cluster: EnvoyMessage, consistent_hash: ConsistentHashLB) -> None:
    if consistent_hash.maglev is not None:
        cluster.lb_policy = Cluster.MAGLEV
        if consistent_hash.maglev.table_size:
            cluster.maglev_lb_config.table_size.value = consistent_hash.maglev.table_size
        return
    ring = consistent_hash.ring_hash
    size = ring.minimum_ring_size if ring is not None else consistent_hash.minimum_ring_size
    cluster.lb_policy = Cluster.RING_HASH
    cluster.ring_hash_lb_config.minimum_ring_size.value = size or _DEFAULT_RING_SIZE


def _apply_outlier_detection(cluster: EnvoyMessage, outlier: OutlierDetection) -> None:
    found = cluster.outlier_detection
    found.enforcing_success_rate.value = 0
    if outlier.consecutive_5xx_errors is not None:
        _set_consecutive(found.consecutive_5xx, found.enforcing_consecutive_5xx, outlier.consecutive_5xx_errors)
    gateway = outlier.consecutive_gateway_errors
    if gateway is None and outlier.consecutive_errors > 0:
        gateway = outlier.consecutive_errors
    if gateway is not None:
        _set_consecutive(found.consecutive_gateway_failure, found.enforcing_consecutive_gateway_failure, gateway)
    if outlier.interval is not None:
        found.interval.FromTimedelta(outlier.interval)
    if outlier.base_ejection_time is not None:
        found.base_ejection_time.FromTimedelta(outlier.base_ejection_time)
    if outlier.max_ejection_percent > 0:
        found.max_ejection_percent.value = outlier.max_ejection_percent
    if outlier.split_external_local_origin_errors:
        found.split_external_local_origin_errors = True
        failures = outlier.consecutive_local_origin_failures
        if failures is not None:
            _set_consecutive(
                found.consecutive_local_origin_failure, found.enforcing_consecutive_local_origin_failure, failures
            )
        found.enforcing_local_origin_success_rate.value = 0
    cluster.common_lb_config.healthy_panic_threshold.value = outlier.min_health_percent


def _set_consecutive(count: EnvoyMessage, enforcing: EnvoyMessage, value: int) -> None:
    """Set after how many errors a backend is ejected; 0 turns it off."""
    count.value = value
    enforcing.value = 100 if value else 0
