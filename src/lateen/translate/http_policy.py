"""What routes do to a request besides choosing its destination: retries, faults, cross-origin rules, copies.

Parts of HTTPRoute -> Envoy's policies.

| retries | |
| --- | --- |
| unset | the mesh's, by default two more tries elsewhere, where the request cannot have been handled |
| attempts 0 | none |
| `retryOn` with numbers | these status codes, beside the conditions |
| the destination is chosen by a hash | the same backend may be tried again |

Source: Istio's pilot/pkg/networking/core/route and its package retry; Envoy's fault.proto, cors.proto.
"""

from __future__ import annotations

from typing import Any, TypeVar

from lateen.api.http_route import CorsPolicy, HTTPFaultInjection, HTTPRetry
from lateen.api.networking import Percent
from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.translate.http_match import build_string_match
from lateen.translate.socket_address import build_duration

HTTPFault = message_class("envoy.extensions.filters.http.fault.v3.HTTPFault")
Cors = message_class("envoy.extensions.filters.http.cors.v3.CorsPolicy")
PreviousHosts = message_class("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
PreviousPriorities = message_class("envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig")

N = TypeVar("N", int, float)

FAULT_FILTER, CORS_FILTER = "envoy.filters.http.fault", "envoy.filters.http.cors"

_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_RETRIABLE_STATUS = "retriable-status-codes"
_DEFAULT_ATTEMPTS = 2
_HOST_SELECTION_ATTEMPTS = 5
_PARTS_PER_PERCENT = 10_000
_GRPC_STATUS = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)


def build_retry_policy(retries: HTTPRetry | None, *, hashed: bool = False) -> dict[str, Any] | None:
    """Return when a request is tried again, None for never."""
    if retries is not None and retries.attempts <= 0:
        return None
    policy: dict[str, Any] = {
        "retry_on": _RETRY_ON,
        "num_retries": {"value": _DEFAULT_ATTEMPTS if retries is None else retries.attempts},
    }
    elsewhere = not hashed
    if retries is not None:
        policy |= _build_conditions(retries.retry_on) if retries.retry_on else {}
        if retries.per_try_timeout is not None:
            policy["per_try_timeout"] = build_duration(retries.per_try_timeout)
        if retries.backoff is not None:
            policy["retry_back_off"] = {"base_interval": build_duration(retries.backoff)}
        if retries.retry_remote_localities:
            priority = pack_any(PreviousPriorities(update_frequency=2))
            policy["retry_priority"] = {"name": "envoy.retry_priorities.previous_priorities", "typed_config": priority}
        if retries.retry_ignore_previous_hosts is not None:
            elsewhere = retries.retry_ignore_previous_hosts
    if elsewhere:
        predicate = {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": pack_any(PreviousHosts())}
        policy |= {
            "retry_host_predicate": [predicate],
            "host_selection_retry_max_attempts": _HOST_SELECTION_ATTEMPTS,
        }
    return policy


def _build_conditions(text: str) -> dict[str, Any]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    codes = [int(part) for part in parts if part.isdecimal()]
    names = [part for part in parts if not part.isdecimal()]
    if codes and _RETRIABLE_STATUS not in names:
        names.append(_RETRIABLE_STATUS)
    return {"retry_on": ",".join(names), "retriable_status_codes": codes}


def build_fault(fault: HTTPFaultInjection) -> EnvoyMessage:
    """Return the faults of a route; a share that is not given is none."""
    fields: dict[str, Any] = {}
    delay, abort = fault.delay, fault.abort
    if delay is not None and delay.fixed_delay is not None:
        share = build_share(delay.percentage) if delay.percentage is not None else {"numerator": _limit(delay.percent)}
        fields["delay"] = {"fixed_delay": build_duration(delay.fixed_delay), "percentage": share}
    if abort is not None:
        share = build_share(abort.percentage or Percent())
        if abort.grpc_status is not None and abort.grpc_status in _GRPC_STATUS:
            fields["abort"] = {"grpc_status": _GRPC_STATUS.index(abort.grpc_status), "percentage": share}
        elif abort.http_status is not None:
            fields["abort"] = {"http_status": abort.http_status, "percentage": share}
    return HTTPFault(**fields)


def build_cors(cors: CorsPolicy) -> EnvoyMessage:
    """Return the cross-origin rules of a route."""
    origins = [build_string_match(origin) for origin in cors.allow_origins]
    fields: dict[str, Any] = {
        "allow_origin_string_match": origins or [{"exact": origin} for origin in cors.allow_origin],
        "allow_methods": ",".join(cors.allow_methods),
        "allow_headers": ",".join(cors.allow_headers),
        "expose_headers": ",".join(cors.expose_headers),
        "filter_enabled": {"default_value": {"numerator": 100}},
        "forward_not_matching_preflights": {"value": cors.unmatched_preflights != "IGNORE"},
    }
    if cors.max_age is not None:
        fields["max_age"] = str(int(cors.max_age.total_seconds()))
    if cors.allow_credentials is not None:
        fields["allow_credentials"] = {"value": cors.allow_credentials}
    return Cors(**fields)


def build_share(share: Percent) -> dict[str, Any]:
    """Return a share of requests as Envoy's fraction."""
    return {"numerator": round(_limit(share.value) * _PARTS_PER_PERCENT), "denominator": "MILLION"}


def _limit(percent: N) -> N:
    return type(percent)(min(max(percent, 0), 100))
