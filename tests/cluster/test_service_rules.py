"""What Services and slices put into the kernel's maps, and how changes are batched."""

import socket
import struct

import pytest
from service_documents import Document, directory_of, endpoint, endpoint_slice, service

from lateen.cluster.network import nft
from lateen.cluster.network.services import (
    ENDPOINTS,
    HAIRPINS,
    PORTS,
    Elements,
    build_elements,
    build_service_changes,
    build_service_rules,
    merge_elements,
)

VIP = "10.96.7.7"
DNS = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
DNS_SLICE = [{**port, "port": 5353} for port in DNS]


def elements_of(*documents: Document) -> Elements:
    directory = directory_of(*documents)
    return merge_elements(
        build_elements(found, directory.find_slices(*key)) for key, found in sorted(directory.services.items())
    )


def describe(elements: Elements) -> dict[str, list[str]]:
    """`address/protocol/port` -> its targets in order; `refuse` where there are none."""
    described: dict[str, list[str]] = {}
    for (name, _key), element in sorted(elements.items()):
        if name != PORTS:
            continue
        address, protocol, port = socket.inet_ntoa(element.key[:4]), element.key[4], int.from_bytes(element.key[8:10])
        count = 0 if element.chain == "refuse" else int(str(element.chain).removeprefix("pick-"))
        data = [elements[ENDPOINTS, element.key + struct.pack("=I", index)].data or b"" for index in range(count)]
        described[f"{address}/{'udp' if protocol == nft.UDP else 'tcp'}/{port}"] = [
            f"{socket.inet_ntoa(each[:4])}:{int.from_bytes(each[4:6])}" for each in data
        ]
    return described


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        pytest.param(
            [service("web", VIP), endpoint_slice("web", endpoint("10.244.0.9"), endpoint("10.244.0.5"))],
            {"10.96.7.7/tcp/80": ["10.244.0.5:8080", "10.244.0.9:8080"]},
            id="ready endpoints in order of address",
        ),
        pytest.param([service("web", VIP)], {"10.96.7.7/tcp/80": []}, id="no slice"),
        pytest.param(
            [service("web", VIP), endpoint_slice("web", endpoint("10.244.0.5", ready=False))],
            {"10.96.7.7/tcp/80": []},
            id="an endpoint that is not ready",
        ),
        pytest.param(
            [
                service("web", VIP),
                endpoint_slice("web", endpoint("10.244.0.5", ready=False, serving=True, terminating=True)),
            ],
            {"10.96.7.7/tcp/80": ["10.244.0.5:8080"]},
            id="an ending endpoint that serves, when no other does",
        ),
        pytest.param(
            [
                service("web", VIP),
                endpoint_slice(
                    "web",
                    endpoint("10.244.0.5", ready=False, serving=True, terminating=True),
                    endpoint("10.244.0.6"),
                ),
            ],
            {"10.96.7.7/tcp/80": ["10.244.0.6:8080"]},
            id="an ending endpoint beside a ready one",
        ),
        pytest.param(
            [
                service("web", VIP),
                endpoint_slice("web", {"addresses": ["10.244.0.5"]}, name="a"),
                endpoint_slice("web", endpoint("10.244.0.5"), endpoint("10.244.0.6"), name="b"),
            ],
            {"10.96.7.7/tcp/80": ["10.244.0.5:8080", "10.244.0.6:8080"]},
            id="two slices with an endpoint in common; no conditions means ready",
        ),
        pytest.param(
            [service("dns", VIP, ports=DNS), endpoint_slice("dns", endpoint("10.244.0.5"), ports=DNS_SLICE)],
            {"10.96.7.7/tcp/53": ["10.244.0.5:5353"], "10.96.7.7/udp/53": ["10.244.0.5:5353"]},
            id="one number for two protocols",
        ),
        pytest.param(
            [service("dns", VIP, ports=DNS), endpoint_slice("dns", endpoint("10.244.0.5"), ports=DNS_SLICE[:1])],
            {"10.96.7.7/tcp/53": [], "10.96.7.7/udp/53": ["10.244.0.5:5353"]},
            id="a slice without one of the ports",
        ),
        pytest.param(
            [service("web", VIP, ports=[{"name": "s", "port": 80, "protocol": "SCTP"}])],
            {},
            id="a protocol not handled",
        ),
        pytest.param([service("web"), endpoint_slice("web", endpoint("10.244.0.5"))], {}, id="headless"),
        pytest.param(
            [service("web", "", type="ExternalName", externalName="example.com", ports=[])], {}, id="ExternalName"
        ),
        pytest.param(
            [
                service("web", VIP),
                endpoint_slice("web", endpoint("fd00::1"), name="six", family="IPv6"),
                endpoint_slice("web", endpoint("example.com"), endpoint("10.244.0.5"), {"addresses": []}, name="four"),
            ],
            {"10.96.7.7/tcp/80": ["10.244.0.5:8080"]},
            id="addresses that are not IPv4",
        ),
        pytest.param(
            [
                service("web", VIP, ports=[{"port": 80}]),
                endpoint_slice("web", endpoint("10.244.0.5"), ports=[{"port": 81}]),
            ],
            {"10.96.7.7/tcp/80": ["10.244.0.5:81"]},
            id="a single port without a name",
        ),
    ],
)
def test_ports_lead_to_their_endpoints(documents: list[Document], expected: dict[str, list[str]]) -> None:
    assert describe(elements_of(*documents)) == expected


def test_every_endpoint_can_meet_itself() -> None:
    elements = elements_of(service("web", VIP), endpoint_slice("web", endpoint("10.244.0.5"), endpoint("10.244.0.6")))
    addresses = [socket.inet_aton(address) * 2 for address in ("10.244.0.5", "10.244.0.6")]
    assert sorted(key for name, key in elements if name == HAIRPINS) == addresses


def test_nothing_is_sent_for_equal_states() -> None:
    documents = [service("web", VIP), endpoint_slice("web", endpoint("10.244.0.5"))]
    assert build_service_changes(elements_of(*documents), elements_of(*documents)) == []


def test_a_change_costs_its_own_elements() -> None:
    many = [
        document
        for number in range(1, 200)
        for document in (
            service(f"web-{number}", f"10.96.8.{number}"),
            endpoint_slice(f"web-{number}", endpoint(f"10.244.8.{number}")),
        )
    ]
    before = elements_of(*many, service("web", VIP), endpoint_slice("web", endpoint("10.244.0.5")))
    after = elements_of(*many, service("web", VIP), endpoint_slice("web", endpoint("10.244.0.6")))
    [batch] = build_service_changes(before, after)
    assert len(batch) == 4, "the endpoint and its hairpin are replaced"
    assert len(batch.encode()[0]) < 600


def test_large_changes_are_several_batches_that_fit_a_socket_buffer() -> None:
    many = [
        document
        for number in range(1500)
        for document in (
            service(f"web-{number}", f"10.96.{number // 250}.{number % 250}"),
            endpoint_slice(f"web-{number}", *[endpoint(f"10.244.{number % 250}.{each}") for each in range(5)]),
        )
    ]
    batches = build_service_rules(elements_of(*many), network="10.96.0.0/16")
    assert len(batches) > 1
    assert max(len(batch.encode()[0]) for batch in batches) < 200_000
