"""Node ports and load balancers on the host, fed by a real API server; pods are servers of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lateen.api.codec import decode
from lateen.api.core import Service
from lateen.api.objects import ObjectKey
from lateen.cluster.host_ports import HostPorts, ServicePortKey, plan_ports
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.testing.apiserver import MERGE_PATCH, RunningServer, run_apiserver
from lateen.testing.poll import until

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def service(kind: str, *ports: dict[str, Any], name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": list(ports), **spec}}


def port(number: int, node_port: int = 0, **parts: Any) -> dict[str, Any]:
    return {"name": "a", "port": number, "protocol": "TCP", **({"nodePort": node_port} if node_port else {}), **parts}


KEY = ObjectKey("", "web")


@pytest.mark.parametrize(
    ("documents", "plan"),
    [
        ([service("ClusterIP", port(80))], {}),
        ([service("NodePort", port(80, 30001))], {30001: KEY}),
        ([service("LoadBalancer", port(80, 30001))], {30001: KEY, 80: KEY}),
        ([service("LoadBalancer", port(80))], {80: KEY}),
        ([service("LoadBalancer", port(80, 30001), loadBalancerClass="other")], {30001: KEY}),
        ([service("LoadBalancer", port(53, 30001, protocol="UDP"))], {}),
        (
            [service("LoadBalancer", port(80), name="b"), service("LoadBalancer", port(80), name="a")],
            {80: ObjectKey("", "a")},
        ),
        (
            [service("LoadBalancer", port(30001), name="a"), service("NodePort", port(80, 30001))],
            {30001: KEY},
        ),
    ],
    ids=["inside", "node port", "both", "no node port", "of others", "UDP", "the first has it", "node ports first"],
)
def test_which_host_ports_lead_where(documents: list[dict[str, Any]], plan: dict[int, ObjectKey]) -> None:
    services = {ObjectKey("", one["metadata"]["name"]): decode(one, Service).value for one in documents}
    found = plan_ports({key: value for key, value in services.items() if value is not None})
    assert {number: target.service for number, target in found.items()} == plan
    assert all(isinstance(target, ServicePortKey) for target in found.values())


class Pods:
    """Servers by the address that they have as pods; each answers with it."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], asyncio.Server] = {}

    async def start(self, address: str, number: int) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = await reader.read()
            writer.write(f"{address}:{number} ".encode() + asked)
            writer.close()

        self._servers[address, number] = await asyncio.start_server(answer, "127.0.0.1", 0)

    async def dial(self, address: str, number: int) -> socket.socket:
        server = self._servers.get((address, number))
        if server is None:
            raise ConnectionRefusedError
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        await asyncio.get_running_loop().sock_connect(opened, server.sockets[0].getsockname())
        return opened

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    found = Pods()
    yield found
    found.close()


@pytest.fixture
async def api(tmp_path: Path, pods: Pods) -> AsyncIterator[RunningServer]:
    async with (
        run_apiserver(tmp_path) as running,
        Client(load_config(tmp_path / "components/controllers.kubeconfig")) as client,
    ):
        task = asyncio.create_task(HostPorts(client, pods.dial).run())
        yield running
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


async def ask(number: int) -> str:
    """What the port answers; empty when it does not."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(b"hello")
            writer.write_eof()
            answer = (await reader.read()).decode()
            writer.close()
            await writer.wait_closed()
            return answer
    return ""


async def answers(number: int, expected: str) -> bool:
    return await ask(number) == expected


def endpoint_slice(*addresses: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
        "ports": [{"name": "a", "port": 8080, "protocol": "TCP"}],
    }


async def test_host_ports_lead_to_ready_endpoints_and_follow_changes(api: RunningServer, pods: Pods) -> None:
    for address in ("10.244.0.5", "10.244.0.6"):
        await pods.start(address, 8080)
    number = find_free_port()
    created = await api.create(SERVICES, service("LoadBalancer", port(number)))
    node_port = created["spec"]["ports"][0]["nodePort"]
    await api.create(SLICES, endpoint_slice("10.244.0.5"))
    for one in (number, node_port):
        await until(lambda one=one: answers(one, "10.244.0.5:8080 hello"))  # type: ignore[misc]
    await api.request("PATCH", f"{SLICES}/web", endpoint_slice("10.244.0.6"), media_type=MERGE_PATCH)
    await until(lambda: answers(number, "10.244.0.6:8080 hello"))
    gone = endpoint_slice("10.244.0.7", "10.244.0.6")
    await api.request("PATCH", f"{SLICES}/web", gone, media_type=MERGE_PATCH)
    for _ in range(10):
        assert await ask(number) == "10.244.0.6:8080 hello", "an endpoint that refuses is passed over"
    await api.request("PATCH", f"{SLICES}/web", endpoint_slice(), media_type=MERGE_PATCH)
    await until(lambda: answers(number, ""))
    await api.delete(f"{SERVICES}/web")
    await until(lambda: can_bind(number))


def can_bind(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True


async def test_a_port_that_is_taken_is_told_and_used_once_it_is_free(api: RunningServer, pods: Pods) -> None:
    await pods.start("10.244.0.5", 8080)
    await api.create(SLICES, endpoint_slice("10.244.0.5"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        created = await api.create(SERVICES, service("LoadBalancer", port(number)))
        node_port = created["spec"]["ports"][0]["nodePort"]

        async def is_told() -> bool:
            events = (await api.get("/api/v1/namespaces/default/events"))["items"]
            texts = [event["message"] for event in events if event["reason"] == "PortUnavailable"]
            wanted = f"port {number} of 127.0.0.1 cannot be used: Address already in use; "
            return texts == [f"{wanted}the service is reachable at 127.0.0.1:{node_port}"]

        await until(is_told)
        await until(lambda: answers(node_port, "10.244.0.5:8080 hello"))
    await until(lambda: answers(number, "10.244.0.5:8080 hello"))
