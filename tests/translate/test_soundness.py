"""What Envoy refuses never reaches it: the rest of the mesh is told what it would be told anyway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mesh_case import build_database, build_proxy, build_static_bootstrap, configure

from lateen.envoy.process import validate
from lateen.mesh.routing_rows import is_subnet
from lateen.translate.soundness import is_expression

CLIENT = build_proxy("default", "client", "10.244.0.1")
REVIEWS = {
    "kind": "Service",
    "metadata": {"name": "reviews", "namespace": "default"},
    "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 90}]},
}
TO_REVIEWS = [{"destination": {"host": "reviews"}}]

BROKEN = {
    "expression in a match": {"match": [{"uri": {"regex": "("}}], "route": TO_REVIEWS},
    "expression that RE2 lacks": {"match": [{"headers": {"a": {"regex": "(?=x)"}}}], "route": TO_REVIEWS},
    "header name": {"headers": {"request": {"set": {"a b": "c"}}}, "route": TO_REVIEWS},
    "header name in a match": {"match": [{"headers": {"a b": {"exact": "c"}}}], "route": TO_REVIEWS},
    "header value": {"headers": {"response": {"add": {"a": "b\r\nc: d"}}}, "route": TO_REVIEWS},
    "negative timeout": {"timeout": "-1s", "route": TO_REVIEWS},
    "status of a fault": {"fault": {"abort": {"httpStatus": 999, "percentage": {"value": 1}}}, "route": TO_REVIEWS},
    "share of a fault": {"fault": {"delay": {"fixedDelay": "1s", "percentage": {"value": -5}}}, "route": TO_REVIEWS},
    "status of an answer": {"directResponse": {"status": 42}},
    "code of a redirect": {"redirect": {"uri": "/", "redirectCode": 299}},
    "expression of a rewrite": {"rewrite": {"uriRegexRewrite": {"match": "[", "rewrite": "/"}}, "route": TO_REVIEWS},
    "negative weights": {"route": [TO_REVIEWS[0] | {"weight": -1}, TO_REVIEWS[0] | {"weight": -2}]},
    "no weights": {"route": [TO_REVIEWS[0], TO_REVIEWS[0]]},
    "no destination": {"route": [{"destination": {}}]},
    "nothing at all": {},
    "share of a mirror": {"mirror": {"host": "reviews"}, "mirrorPercentage": {"value": 1e9}, "route": TO_REVIEWS},
}


def build_routes(**spec: Any) -> dict[str, Any]:
    return {
        "kind": "VirtualService",
        "metadata": {"name": "broken", "namespace": "default"},
        "spec": {"hosts": ["reviews"], **spec},
    }


@pytest.mark.parametrize("route", BROKEN.values(), ids=BROKEN.keys())
async def test_envoy_takes_routes_although_one_is_broken(route: dict[str, Any], tmp_path: Path) -> None:
    database = build_database([REVIEWS, build_routes(http=[route, {"route": TO_REVIEWS}])])
    await validate(build_static_bootstrap(configure(database, CLIENT)), tmp_path)


async def test_broken_subnets_and_limits_leave_the_rest(tmp_path: Path) -> None:
    routes = build_routes(
        tcp=[
            {"match": [{"destinationSubnets": ["10.0.0.0/99"]}], "route": TO_REVIEWS},
            {"match": [{"destinationSubnets": ["nonsense", "10.1.0.0/16"]}], "route": TO_REVIEWS},
            {"match": [{"destinationSubnets": ["10.2.0.0/16"]}], "route": TO_REVIEWS * 2},
        ]
    )
    limits = {"tcp": {"maxConnections": -1}, "http": {"http2MaxRequests": -1, "maxRequestsPerConnection": -1}}
    rule = {
        "kind": "DestinationRule",
        "metadata": {"name": "broken", "namespace": "default"},
        "spec": {
            "host": "reviews",
            "trafficPolicy": {"connectionPool": limits, "outlierDetection": {"maxEjectionPercent": -1}},
        },
    }
    entry = {
        "kind": "ServiceEntry",
        "metadata": {"name": "broken", "namespace": "default"},
        "spec": {
            "hosts": ["a.example.com"],
            "addresses": ["nonsense", "10.9.0.0/77"],
            "ports": [{"number": 70, "name": "tcp", "protocol": "TCP"}],
        },
    }
    configuration = configure(build_database([REVIEWS, routes, rule, entry]), CLIENT)
    assert len(configuration.listeners["10.96.0.1_90"].filter_chains) == 2
    await validate(build_static_bootstrap(configuration), tmp_path)


@pytest.mark.parametrize("text", ["a(?!b)", r"(a)\1", "a++", "(?<=a)b", "(", "(?>a)", "(?P=name)"])
def test_what_re2_lacks_is_no_expression(text: str) -> None:
    assert not is_expression(text)


@pytest.mark.parametrize("text", ["", ".*", "^/v[0-9]+/(?:a|b)$", r"\d{3}\.x", "(?i)abc", "(?P<name>a)"])
def test_what_both_know_is_an_expression(text: str) -> None:
    assert is_expression(text)


def test_subnets_are_addresses_or_cidrs() -> None:
    assert is_subnet("10.0.0.1") and is_subnet("10.0.0.5/8") and is_subnet("fd00::/8")
    assert not is_subnet("10.0.0.0/33") and not is_subnet("host")
