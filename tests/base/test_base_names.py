"""Names, hosts, SPIFFE ids and durations: text forms and their inverses."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lateen.base import hosts
from lateen.base.durations import format_duration, parse_duration
from lateen.base.errors import DataError
from lateen.base.names import ObjectRef, format_cluster_name, parse_cluster_name, service_hostname
from lateen.base.spiffe import SpiffeId, format_spiffe, parse_spiffe, workload_identity


def test_cluster_names_are_istios() -> None:
    host = service_hostname("reviews", "default")
    name = format_cluster_name("outbound", 9080, "v1", host)
    assert name == "outbound|9080|v1|reviews.default.svc.cluster.local"
    assert parse_cluster_name(name) == ("outbound", 9080, "v1", host)
    assert parse_cluster_name("inbound|8080||") == ("inbound", 8080, "", "")


@pytest.mark.parametrize(
    "name", ["PassthroughCluster", "outbound|x||h", "sideways|1||h", "outbound|1|h", "outbound|²||h"]
)
def test_other_names_have_no_parts(name: str) -> None:
    assert parse_cluster_name(name) is None


def test_references_read_as_kubectl_users_write_them() -> None:
    assert str(ObjectRef("Pod", "default", "web")) == "Pod default/web"
    assert str(ObjectRef("Namespace", "", "web")) == "Namespace web"


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "A.b", True),
        ("*.b", "a.b", True),
        ("*.b", "x.a.b", True),
        ("*.b", "b", False),
        ("*.b", ".b", False),
        ("*", "a.b", True),
        ("*", "*", True),
        ("*.b", "*.a.b", True),
        ("*.a.b", "*.b", False),
        ("*.b", "*", False),
        ("a.b", "*.b", False),
        ("*.b", "ab", False),
    ],
)
def test_wildcards(pattern: str, host: str, matches: bool) -> None:
    assert hosts.matches(pattern, host) is matches


def test_the_most_specific_host_wins_in_any_order() -> None:
    patterns = ["*", "*.b", "*.a.b", "x.a.b"]
    for order in (patterns, patterns[::-1]):
        assert hosts.most_specific("x.a.b", order) == "x.a.b"
        assert hosts.most_specific("y.a.b", order) == "*.a.b"
        assert hosts.most_specific("c", order) == "*"
    assert hosts.most_specific("c", ["a"]) is None


def test_the_intersection_is_the_narrower_host() -> None:
    assert hosts.intersect("*.b", "a.b") == hosts.intersect("a.b", "*.b") == "a.b"
    assert hosts.intersect("*", "*.b") == "*.b"
    assert hosts.intersect("*.a", "*.b") is None


def test_spiffe_ids_round_trip() -> None:
    identity = workload_identity("default", "")
    assert format_spiffe(identity) == "spiffe://cluster.local/ns/default/sa/default"
    assert parse_spiffe(format_spiffe(identity)) == identity == SpiffeId("cluster.local", "default", "default")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://x",
        "spiffe://x/ns/a/sa/b/c",
        "spiffe://x/ns//sa/b",
        "https://x/ns/a/sa/b",
        "spiffe://x/ns/a/sa/b\n",
    ],
)
def test_other_uris_are_no_identity(uri: str) -> None:
    assert parse_spiffe(uri) is None


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0", timedelta()),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1.5s", timedelta(seconds=1.5)),
        (".5s", timedelta(seconds=0.5)),
        ("1.s", timedelta(seconds=1)),
        ("250ms", timedelta(milliseconds=250)),
        ("-2m", timedelta(minutes=-2)),
        ("+2m", timedelta(minutes=2)),
        ("10us", timedelta(microseconds=10)),
        ("10µs", timedelta(microseconds=10)),
        ("1600ns", timedelta(microseconds=2)),
    ],
)
def test_durations_are_gos(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "-", "1", "s", ".s", "1d", "1 s", "1s ", "1e3s", "9999999999h", "١s"])
def test_other_texts_are_no_duration(text: str) -> None:
    with pytest.raises(DataError, match="Not a duration"):
        parse_duration(text)


@given(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)))
def test_durations_round_trip(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(hours=24), "24h0m0s"),
        (timedelta(minutes=1, milliseconds=500), "1m0.5s"),
        (timedelta(milliseconds=1.5), "1.5ms"),
        (timedelta(seconds=-10), "-10s"),
    ],
)
def test_durations_print_as_gos(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text
