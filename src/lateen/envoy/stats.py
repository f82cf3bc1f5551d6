"""Which of Envoy's own statistics a proxy keeps, and what their names say.

Nothing -> `envoy.config.metrics.v3.StatsConfig` as a proto3 JSON document.

Invariants: cluster and listener statistics are named `cluster.<name>;.<stat>`: the semicolon
(`alt_stat_name`, HCM `stat_prefix`) ends the name, which holds dots itself, so that a tag expression can
find it. Only what the list includes is kept: it saves 39 % of a large sidecar's memory (DESIGN section 5).
Source: Istio's pkg/bootstrap (required prefixes, suffixes and expressions).
"""

from __future__ import annotations

from typing import Any

_INCLUDED_PREFIXES = (
    "cluster_manager",
    "listener_manager",
    "server",
    "cluster.xds-grpc",
    "cluster.sds-grpc",
    "control_plane",
    "sds.",
)
_INCLUDED_SUFFIXES = (
    "rbac.allowed",
    "rbac.denied",
    "shadow_allowed",
    "shadow_denied",
    "downstream_cx_active",
    "downstream_rq_active",
    "ssl.handshake",
    "ssl.fail_verify_san",
    "ssl.connection_error",
)
# tag -> expression: the first group is cut from the name, the second is the tag's value.
_TAGS = (
    ("cluster_name", r"^cluster\.((.+?);\.)"),
    ("tcp_prefix", r"^tcp\.((.*?);?\.)\w+?$"),
    ("http_conn_manager_prefix", r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]:]*));\.)"),
    ("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
)


def build_stats_config() -> dict[str, Any]:
    """Return the statistics configuration of every proxy."""
    patterns = [{"prefix": prefix} for prefix in _INCLUDED_PREFIXES]
    patterns += [{"suffix": suffix} for suffix in _INCLUDED_SUFFIXES]
    return {
        "useAllDefaultTags": False,
        "statsTags": [{"tagName": tag, "regex": expression} for tag, expression in _TAGS],
        "statsMatcher": {"inclusionList": {"patterns": patterns}},
    }
