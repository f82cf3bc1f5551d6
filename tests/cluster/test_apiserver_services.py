from typing import Any

import pytest

from lateen.testing.apiserver import MERGE_PATCH, RunningServer, run_apiserver

SERVICES = "/api/v1/namespaces/default/services"


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec}}


async def test_a_service_gets_an_address_and_keeps_it(api: RunningServer) -> None:
    created = await api.create(SERVICES, service())
    address = created["spec"]["clusterIP"]
    assert address.startswith("10.96.")
    assert created["spec"]["clusterIPs"] == [address]
    assert created["spec"]["ipFamilies"] == ["IPv4"]
    assert created["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    replaced = await api.request("PUT", f"{SERVICES}/web", service(ports=[{"port": 81}]))
    assert replaced.document["spec"]["clusterIP"] == address
    changed = await api.request(
        "PATCH",
        f"{SERVICES}/web",
        {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}},
        media_type=MERGE_PATCH,
    )
    assert (changed.status, "may not change once set" in changed.message) == (422, True)


async def test_addresses_differ_and_are_given_back(api: RunningServer) -> None:
    addresses = [(await api.create(SERVICES, service(f"s{n}")))["spec"]["clusterIP"] for n in range(20)]
    assert len(set(addresses)) == 20
    await api.delete(f"{SERVICES}/s3")
    wanted = service("chosen", clusterIP=addresses[3])
    for _ in range(2):
        await api.create(SERVICES, wanted, dryRun="All")
    await api.create(SERVICES, wanted)


async def test_a_chosen_address_must_be_free_and_inside_the_network(api: RunningServer) -> None:
    await api.create(SERVICES, service("a", clusterIP="10.96.0.77"))
    for address, text in (
        ("10.96.0.77", "already allocated"),
        ("10.1.1.1", "not in the valid range"),
        ("x", "valid IP"),
    ):
        answer = await api.request("POST", SERVICES, service("b", clusterIP=address))
        assert (answer.status, text in answer.message) == (422, True), answer.message
    await api.delete(f"{SERVICES}/a")
    await api.create(SERVICES, service("b", clusterIP="10.96.0.77"))


async def test_headless_and_external_services_get_none(api: RunningServer) -> None:
    headless = await api.create(SERVICES, service("a", clusterIP="None"))
    assert headless["spec"]["clusterIPs"] == ["None"]
    external = await api.create(
        SERVICES, {"metadata": {"name": "b"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    )
    assert "clusterIP" not in external["spec"]


async def test_node_ports_are_allocated_kept_and_checked(api: RunningServer) -> None:
    created = await api.create(
        SERVICES, service(type="LoadBalancer", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 443}])
    )
    ports = [port["nodePort"] for port in created["spec"]["ports"]]
    assert len(set(ports)) == 2
    assert all(30000 <= port < 32768 for port in ports)
    again = await api.request(
        "PUT",
        f"{SERVICES}/web",
        service(type="LoadBalancer", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 443}]),
    )
    assert [port["nodePort"] for port in again.document["spec"]["ports"]] == ports
    taken = await api.request(
        "POST", SERVICES, service("b", type="NodePort", ports=[{"port": 1, "nodePort": ports[0]}])
    )
    assert (taken.status, "already allocated" in taken.message) == (422, True)


async def test_what_is_held_is_known_after_a_restart(tmp_path: Any) -> None:
    async with run_apiserver(tmp_path) as api:
        first = (await api.create(SERVICES, service("a")))["spec"]["clusterIP"]
    async with run_apiserver(tmp_path) as api:
        assert (await api.create(SERVICES, service("b")))["spec"]["clusterIP"] != first
        answer = await api.request("POST", SERVICES, service("c", clusterIP=first))
        assert answer.status == 422


async def test_the_api_server_is_a_service_of_its_own(api: RunningServer) -> None:
    found = await api.get(f"{SERVICES}/kubernetes")
    assert found["spec"]["clusterIP"] == "10.96.0.1"
    port = int(api.url.rpartition(":")[2])
    endpoints = await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert endpoints["ports"] == [{"name": "https", "port": port, "protocol": "TCP"}]
    assert endpoints["endpoints"][0]["addresses"] == ["10.244.0.1"]


@pytest.mark.parametrize("field", ["clusterIP", "type"])
async def test_a_service_may_become_external_and_give_its_address_back(api: RunningServer, field: str) -> None:
    created = await api.create(SERVICES, service())
    body = {"metadata": {"name": "web"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    answer = await api.request("PUT", f"{SERVICES}/web", body)
    assert answer.status == 200, answer.body
    assert (field in answer.document["spec"]) is (field == "type")
    await api.create(SERVICES, service("b", clusterIP=created["spec"]["clusterIP"]))
