"""`lateen describe` says what rules mean for a pod, in istioctl's words."""

from __future__ import annotations

from typing import Any

import pytest

from lateen.cli.describe.policy import (
    Subsets,
    describe_destination_rule,
    describe_match,
    describe_peer_authentication,
    describe_virtual_service,
    find_subsets,
)
from lateen.cli.describe.workload import describe_pod, describe_service

HOST = "reviews.default.svc.cluster.local"
V1 = {"app": "reviews", "version": "v1"}


def document(name: str, spec: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


RULE = document(
    "reviews",
    {
        "host": "reviews",
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}],
        "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}, "loadBalancer": {"simple": "RANDOM"}},
    },
)


def test_a_destination_rule_tells_subsets_and_policies() -> None:
    assert describe_destination_rule(RULE, [V1], "default") == [
        'DestinationRule: reviews for "reviews"',
        "   Matching subsets: v1",
        "      (Non-matching subsets v2)",
        "   Traffic Policy TLS Mode: ISTIO_MUTUAL",
        "   Policies: load balancer",
    ]


def test_a_pod_in_no_subset_is_warned_of() -> None:
    lines = describe_destination_rule(RULE, [{"app": "reviews"}], "other")
    assert lines[0] == 'DestinationRule: reviews.default for "reviews"'
    assert lines[1] == "   WARNING POD DOES NOT MATCH ANY SUBSETS.  (Non matching subsets v1,v2)"


def to(subset: str = "", weight: int = 0, host: str = "reviews") -> dict[str, Any]:
    destination = {"host": host} | ({"subset": subset} if subset else {})
    return {"destination": destination} | ({"weight": weight} if weight else {})


@pytest.mark.parametrize(
    ("http", "subsets", "expected"),
    [
        ([{"route": [to()]}], Subsets(), ["   1 HTTP route(s)"]),
        (
            [{"route": [to("v1", 80), to("v2", 20)]}],
            Subsets(("v1",), ("v2",), "reviews"),
            ['   Route to host "reviews" subset "v1" with weight 80%'],
        ),
        (
            [{"route": [to("v1")], "match": [{"uri": {"prefix": "/a"}, "headers": {"end-user": {"exact": "jason"}}}]}],
            Subsets(("v1",), (), "reviews"),
            ["   Match: /a* when headers are end-user=jason"],
        ),
        (
            [{"route": [to("v2")]}],
            Subsets(("v1",), ("v2",), "reviews"),
            [
                "   WARNING: No destinations match pod subsets (checked 1 HTTP routes)",
                "      Route to non-matching subset v2 for (everything)",
            ],
        ),
        (
            [{"route": [to("v3")]}],
            Subsets(("v1",), ("v2",), "reviews"),
            [
                "   WARNING: No destinations match pod subsets (checked 1 HTTP routes)",
                "      Warning: Route to UNKNOWN subset v3; check DestinationRule reviews",
            ],
        ),
        (
            [{"route": [to("v1")]}],
            Subsets(),
            [
                "   WARNING: No destinations match pod subsets (checked 1 HTTP routes)",
                "      Warning: Route to subset v1 but NO DESTINATION RULE defining subsets!",
            ],
        ),
        (
            [{"route": [to(host="ratings", weight=10), to(weight=90)]}],
            Subsets(),
            ['   Route to host "ratings" with weight 10%', '   Route to host "reviews" with weight 90%'],
        ),
    ],
    ids=["plain", "weights", "match", "other subset", "unknown subset", "no rule", "other host"],
)
def test_a_virtual_service_tells_which_routes_reach_the_pod(
    http: list[dict[str, Any]], subsets: Subsets, expected: list[str]
) -> None:
    lines = describe_virtual_service(document("reviews", {"http": http}), HOST, subsets, "default")
    assert lines == ["VirtualService: reviews", *expected]


def test_a_match_without_conditions_is_said_so() -> None:
    assert describe_match({}) == "Match:"
    assert describe_match({"uri": {"regex": "/a.*"}, "ignoreUriCase": True}) == "Match: regex /a.* uncased"


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], ["   Workload mTLS mode: PERMISSIVE"]),
        (
            [document("default", {"mtls": {"mode": "STRICT"}}, "istio-system")],
            [
                "   Workload mTLS mode: STRICT",
                "Applied PeerAuthentication:",
                "   default.istio-system",
            ],
        ),
        (
            [
                document("default", {"mtls": {"mode": "STRICT"}}),
                document(
                    "one",
                    {
                        "selector": {"matchLabels": {"app": "reviews"}},
                        "mtls": {"mode": "UNSET"},
                        "portLevelMtls": {"9080": {"mode": "DISABLE"}},
                    },
                ),
                document("two", {"selector": {"matchLabels": {"app": "other"}}, "mtls": {"mode": "DISABLE"}}),
            ],
            [
                "   Workload mTLS mode: STRICT",
                "   Port Level mTLS mode:",
                "      9080: DISABLE",
                "Applied PeerAuthentication:",
                "   default.default, one.default",
            ],
        ),
    ],
    ids=["none", "mesh", "workload"],
)
def test_the_mtls_mode_is_the_nearest_one(policies: list[dict[str, Any]], expected: list[str]) -> None:
    lines = describe_peer_authentication(policies, V1, "default", "istio-system")
    assert lines == ["Effective PeerAuthentication:", *expected]


def pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "app", "ports": [{"name": "web", "containerPort": 9080}]}]
    return {
        "metadata": {"name": "reviews-1", "namespace": "default", "labels": V1},
        "spec": {"containers": containers, **spec},
        "status": {"phase": "Running", "containerStatuses": [{"name": "app", "ready": True}]},
    }


def test_a_pod_outside_the_mesh_is_warned_of() -> None:
    assert describe_pod(pod(), "default", "")[-1] == "WARNING: reviews-1 is not part of mesh; no Istio sidecar"
    lines = describe_pod(pod(), "default", "Envoy 1.40.0")
    assert lines == [
        "Pod: reviews-1",
        "   Pod Revision: default",
        "   Pod Ports: 9080 (app)",
        "   Proxy: Envoy 1.40.0",
    ]


def test_a_service_tells_where_its_ports_lead() -> None:
    ports = [
        {"name": "http", "port": 80, "targetPort": "web"},
        {"port": 81, "targetPort": 9081},
        {"name": "tcp", "port": 82, "targetPort": "gone"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    lines = describe_service(document("reviews", {"ports": ports}), pod(), "default")
    assert lines == [
        "Service: reviews",
        "   Port: http 80/HTTP targets pod port 9080",
        "   Port:  81/auto-detect targets pod port 9081",
        "   no suitable port for manifest: gone of pod reviews-1",
    ]


def test_subsets_are_those_of_any_of_the_pods() -> None:
    assert find_subsets(RULE, [V1, {"version": "v2"}], "default") == Subsets(("v1", "v2"), (), "reviews")
