"""`lateen proxy-status` in istioctl's columns."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from lateen.base.errors import UsageError
from lateen.cli.proxy_config.command import proxy_config
from lateen.cli.proxy_config.log import parse_levels
from lateen.cli.proxy_config.matching import describe_domains
from lateen.cli.proxy_status import build_rows, find_refusals

SYNCED = {f"{name}_{what}": "n1" for name in ("cluster", "listener", "endpoint", "route") for what in ("sent", "acked")}


def entry(proxy: str, **changes: Any) -> dict[str, Any]:
    return {"proxy": proxy, "cluster_id": "Kubernetes", "istio_version": "1.32.0", **SYNCED, **changes}


def test_the_table_counts_the_types_that_a_proxy_asks_for() -> None:
    header, rows = build_rows([entry("b.ns"), entry("a.ns")], verbosity=0)
    assert header == ("NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES")
    assert rows == [
        ["a.ns", "Kubernetes", "istiod", "1.32.0", "4 (CDS,LDS,EDS,RDS)"],
        ["b.ns", "Kubernetes", "istiod", "1.32.0", "4 (CDS,LDS,EDS,RDS)"],
    ]


def test_the_verbose_table_shows_the_state_of_each_type() -> None:
    odd = entry("a.ns", cluster_acked="n0", listener_sent="", route_refused={"80": "no such cluster"})
    header, rows = build_rows([odd], verbosity=1)
    assert header == ("NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION")
    assert rows == [["a.ns", "Kubernetes", "STALE", "NOT SENT", "SYNCED", "ERROR", "IGNORED", "istiod", "1.32.0"]]
    assert find_refusals([odd]) == ["a.ns refused RDS 80: no such cluster"]


def test_domains_are_shown_without_ports_and_longer_forms() -> None:
    domains = ["a.ns.svc.cluster.local", "a.ns.svc.cluster.local:80", "a", "a:80", "a.ns.svc", "a.ns", "10.96.0.7"]
    assert describe_domains(domains) == "a, a.ns + 1 more..."
    assert describe_domains(["*"]) == "*"


def test_log_levels_are_read_for_all_or_some_loggers() -> None:
    assert parse_levels("debug") == {"level": "debug"}
    assert parse_levels("http:debug,envoy::rbac=warn") == {"http": "debug", "rbac": "warning"}
    with pytest.raises(UsageError):
        parse_levels("http:loud")


@pytest.mark.parametrize("words", [[], ["deploy/x", "-f", "dump.json"]], ids=["neither", "both"])
def test_a_pod_or_a_file_is_needed_not_both(words: list[str]) -> None:
    result = CliRunner().invoke(proxy_config, ["cluster", *words])
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize(("text", "reason"), [("{", "is not JSON"), ("[]", "is not a JSON object")])
def test_a_file_that_is_no_dump_is_said_so(text: str, reason: str) -> None:
    result = CliRunner().invoke(proxy_config, ["cluster", "-f", "-"], input=text)
    assert reason in str(result.exception)
