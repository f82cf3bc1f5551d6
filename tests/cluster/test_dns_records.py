"""Which records names of the cluster have: the table of the Kubernetes DNS specification."""

import pytest
from dnslib import RCODE
from service_documents import HTTP, directory_of, endpoint, endpoint_slice, namespace, put, service

from lateen.cluster.dns_records import answer

METRICS = {"name": "metrics", "port": 9090, "protocol": "TCP"}
DIRECTORY = directory_of(
    namespace("empty"),
    service("web", "10.96.7.7", ports=[HTTP, METRICS]),
    endpoint_slice("web", endpoint("10.244.0.5"), ports=[{**HTTP, "port": 8080}, {**METRICS, "port": 9091}]),
    service("db"),
    endpoint_slice(
        "db", endpoint("10.244.0.7", "db-1"), endpoint("10.244.0.6", "db-0"), endpoint("10.244.0.8", ready=False)
    ),
    endpoint_slice("db", endpoint("10.244.0.9"), endpoint("fd00::9"), name="db-2"),
    service("idle"),
    service("mail", "", type="ExternalName", externalName="Mail.Example.com.", ports=[]),
    service("alias", "", type="ExternalName", externalName="web.default.svc.cluster.local", ports=[]),
    service("broken", "", type="ExternalName", externalName="no.default.svc.cluster.local", ports=[]),
    service("loop", "", type="ExternalName", externalName="loop.default.svc.cluster.local", ports=[]),
)
NXDOMAIN = ["NXDOMAIN"]
SOA = "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"


def ask(name: str, kind: str) -> list[str]:
    """Records as text; an error code or `outside` as an entry of its own."""
    found = answer(DIRECTORY, tuple(name.split(".")), kind)
    told = [f"{type(data).__name__} {data}" for _owner, data in found.records]
    if found.rcode != RCODE.NOERROR:
        told.append(str(RCODE.get(found.rcode)))
    if found.outside is not None:
        told.append("outside " + ".".join(found.outside))
    return told


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.default.svc.cluster.local", "A", ["A 10.96.7.7"]),
        ("web.default.svc.cluster.local", "ANY", ["A 10.96.7.7"]),
        ("web.default.svc.cluster.local", "AAAA", []),
        ("web.default.svc.cluster.local", "MX", []),
        ("web.default.svc.cluster.local", "HTTPS", []),
        ("no.default.svc.cluster.local", "A", NXDOMAIN),
        ("no.default.svc.cluster.local", "AAAA", NXDOMAIN),
        ("web.other.svc.cluster.local", "A", NXDOMAIN),
        ("db.default.svc.cluster.local", "A", ["A 10.244.0.6", "A 10.244.0.7", "A 10.244.0.9"]),
        ("idle.default.svc.cluster.local", "A", []),
        ("db-0.db.default.svc.cluster.local", "A", ["A 10.244.0.6"]),
        ("db-0.db.default.svc.cluster.local", "AAAA", []),
        ("db-7.db.default.svc.cluster.local", "A", NXDOMAIN),
        ("10-244-0-9.db.default.svc.cluster.local", "A", ["A 10.244.0.9"]),
        ("10-244-0-6.db.default.svc.cluster.local", "A", NXDOMAIN),
        ("a.db-0.db.default.svc.cluster.local", "A", NXDOMAIN),
        ("_http._tcp.web.default.svc.cluster.local", "SRV", ["SRV 0 100 80 web.default.svc.cluster.local."]),
        ("_http._tcp.web.default.svc.cluster.local", "A", []),
        ("_tcp.web.default.svc.cluster.local", "A", []),
        ("_udp.web.default.svc.cluster.local", "A", NXDOMAIN),
        ("_http._udp.web.default.svc.cluster.local", "SRV", NXDOMAIN),
        ("_no._tcp.web.default.svc.cluster.local", "SRV", NXDOMAIN),
        (
            "web.default.svc.cluster.local",
            "SRV",
            ["SRV 0 100 80 web.default.svc.cluster.local.", "SRV 0 100 9090 web.default.svc.cluster.local."],
        ),
        (
            "_http._tcp.db.default.svc.cluster.local",
            "SRV",
            [
                "SRV 0 100 8080 db-0.db.default.svc.cluster.local.",
                "SRV 0 100 8080 db-1.db.default.svc.cluster.local.",
                "SRV 0 100 8080 10-244-0-9.db.default.svc.cluster.local.",
            ],
        ),
        ("_http._tcp.idle.default.svc.cluster.local", "SRV", []),
        ("mail.default.svc.cluster.local", "CNAME", ["CNAME mail.example.com."]),
        ("mail.default.svc.cluster.local", "A", ["CNAME mail.example.com.", "outside mail.example.com"]),
        ("x.mail.default.svc.cluster.local", "A", NXDOMAIN),
        ("alias.default.svc.cluster.local", "A", ["CNAME web.default.svc.cluster.local.", "A 10.96.7.7"]),
        ("alias.default.svc.cluster.local", "AAAA", ["CNAME web.default.svc.cluster.local."]),
        ("broken.default.svc.cluster.local", "A", ["CNAME no.default.svc.cluster.local.", "NXDOMAIN"]),
        ("loop.default.svc.cluster.local", "A", ["CNAME loop.default.svc.cluster.local."] * 9),
        ("10-244-0-5.default.pod.cluster.local", "A", ["A 10.244.0.5"]),
        ("10-244-0-5.default.pod.cluster.local", "AAAA", []),
        ("10-244-0-5.other.pod.cluster.local", "A", NXDOMAIN),
        ("10-244-0-500.default.pod.cluster.local", "A", NXDOMAIN),
        ("ten.default.pod.cluster.local", "A", NXDOMAIN),
        ("x.10-244-0-5.default.pod.cluster.local", "A", NXDOMAIN),
        ("cluster.local", "A", []),
        ("cluster.local", "SOA", [f"SOA {SOA}"]),
        ("svc.cluster.local", "A", []),
        ("empty.svc.cluster.local", "A", []),
        ("other.svc.cluster.local", "A", NXDOMAIN),
        ("default.pod.cluster.local", "A", []),
        ("no.cluster.local", "A", NXDOMAIN),
        ("example.com.default.svc.cluster.local", "A", NXDOMAIN),
        ("dns-version.cluster.local", "TXT", ['TXT "1.1.0"']),
        ("7.7.96.10.in-addr.arpa", "PTR", ["PTR web.default.svc.cluster.local."]),
        ("7.7.96.10.in-addr.arpa", "A", []),
        ("5.0.244.10.in-addr.arpa", "PTR", ["PTR 10-244-0-5.web.default.svc.cluster.local."]),
        ("6.0.244.10.in-addr.arpa", "PTR", ["PTR db-0.db.default.svc.cluster.local."]),
        ("8.0.244.10.in-addr.arpa", "PTR", NXDOMAIN),
        ("1.1.244.10.in-addr.arpa", "PTR", NXDOMAIN),
        ("8.8.8.8.in-addr.arpa", "PTR", ["outside 8.8.8.8.in-addr.arpa"]),
        ("a.b.in-addr.arpa", "PTR", ["outside a.b.in-addr.arpa"]),
        ("example.com", "A", ["outside example.com"]),
        ("web", "A", ["outside web"]),
        ("notcluster.local", "A", ["outside notcluster.local"]),
    ],
)
def test_names_have_the_records_of_the_specification(name: str, kind: str, expected: list[str]) -> None:
    assert ask(name, kind) == expected


def test_the_root_is_somebody_elses() -> None:
    assert answer(DIRECTORY, (), "NS").outside == ()


def test_ports_come_with_the_addresses_of_their_targets() -> None:
    found = answer(DIRECTORY, ("_http", "_tcp", "db", "default", "svc", "cluster", "local"), "SRV")
    assert {owner[0]: str(data) for owner, data in found.additional} == {
        "db-0": "10.244.0.6",
        "db-1": "10.244.0.7",
        "10-244-0-9": "10.244.0.9",
    }


def test_the_directory_follows_changes() -> None:
    directory = directory_of(service("web", "10.96.7.7"), endpoint_slice("web", endpoint("10.244.0.5")))
    moved = endpoint_slice("other", endpoint("10.244.0.6"), name="web-1")
    assert put(directory, moved) == {("default", "web"), ("default", "other")}
    assert not directory.find_slices("default", "web")
    assert directory.find_by_endpoint("10.244.0.5") == []
    assert directory.find_by_endpoint("10.244.0.6") == [("default", "other")]
    put(directory, service("web", "10.96.7.8"))
    assert directory.find_by_cluster_ip("10.96.7.7") is None
    assert directory.find_by_cluster_ip("10.96.7.8") == ("default", "web")
