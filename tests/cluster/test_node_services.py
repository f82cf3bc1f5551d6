"""DNS, rules and relays of a node together, fed by a real API server with what `lateen up` installs."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from dnslib import DNSRecord
from service_documents import Document, endpoint, endpoint_slice, service

from lateen.cluster.install import install_mesh
from lateen.cluster.node.sandbox import NodeNamespace, Sandbox, SandboxError
from lateen.cluster.node_services import NodeServices
from lateen.cluster.ports import STANDARD, find_relays
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.runtime.tasks import TaskSet
from lateen.testing.apiserver import RunningServer
from lateen.testing.node import Echo, greet, open_pod, run_node_namespace
from lateen.testing.poll import until

POD, PEER = "10.244.0.5", "10.244.0.6"


@dataclass
class World:
    """An API server, a node with its services, a pod, and the host's socket behind port 15012."""

    discovery: socket.socket
    api: RunningServer
    node: NodeNamespace
    pod: Sandbox

    async def create(self, *documents: Document) -> None:
        for document in documents:
            group = "api/v1" if document["apiVersion"] == "v1" else f"apis/{document['apiVersion']}"
            plural = {"Service": "services", "EndpointSlice": "endpointslices"}[document["kind"]]
            await self.api.create(f"/{group}/namespaces/default/{plural}", document)

    async def resolve(self, name: str, *, server: str = "10.96.0.10", kind: str = "A") -> list[str]:
        loop = asyncio.get_running_loop()
        query = DNSRecord.question(name, kind)
        with await self.pod.listen(POD, 0, datagram=True) as asking:
            await loop.sock_sendto(asking, query.pack(), (server, 53))
            packet, sender = await asyncio.wait_for(loop.sock_recvfrom(asking, 4096), 15)
        assert sender == (server, 53)
        return [str(record.rdata) for record in DNSRecord.parse(packet).rr]


@pytest_asyncio.fixture
async def world(api: RunningServer) -> AsyncIterator[World]:
    async with Client(load_config(api.state / "kubeconfig")) as admin:
        await install_mesh(admin)
    tasks = TaskSet("test")
    config = load_config(api.state / "components" / "node.kubeconfig")
    async with run_node_namespace() as node, Client(config) as client:
        discovery = socket.create_server(("127.0.0.1", 0))
        ports = {**STANDARD, "api": int(api.url.rpartition(":")[2]), "tls": discovery.getsockname()[1]}
        services = NodeServices(client, node, find_relays(ports))
        tasks.start(services.run(), name="services")
        try:
            await asyncio.wait_for(services.ready(), 30)
            yield World(discovery, api, node, await open_pod(node, POD))
        finally:
            await tasks.close()
            discovery.close()


@pytest.mark.parametrize("server", ["10.96.0.10", "10.244.0.1"])
async def test_a_pod_resolves_the_api_server(world: World, server: str) -> None:
    assert await world.resolve("kubernetes.default.svc.cluster.local", server=server) == ["10.96.0.1"]
    assert await world.resolve("10.0.96.10.in-addr.arpa", server=server, kind="PTR") == [
        "kube-dns.kube-system.svc.cluster.local."
    ]


async def test_a_pod_reaches_the_api_server_by_its_cluster_ip(world: World) -> None:
    opened = await world.pod.connect("10.96.0.1", 443)
    context = ssl.create_default_context(cadata=world.api.pki.ca_pem.decode())
    reader, writer = await asyncio.open_connection(sock=opened, ssl=context, server_hostname="kubernetes.default.svc")
    writer.write(b"GET /version HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).strip() == b"HTTP/1.1 200 OK"
    writer.close()
    await writer.wait_closed()


async def test_a_pod_reaches_discovery_on_istios_ports(world: World) -> None:
    [address] = await world.resolve("istiod.istio-system.svc.cluster.local")
    async with Echo("discovery").serve(world.discovery):
        assert await greet(await world.pod.connect(address, 15012)) == ("discovery", "127.0.0.1")


async def test_a_new_service_resolves_and_answers(world: World) -> None:
    peer = await open_pod(world.node, PEER)
    await world.create(service("web", "10.96.7.7"), endpoint_slice("web", endpoint(PEER)))

    async def is_known() -> bool:
        return await world.resolve("web.default.svc.cluster.local") == ["10.96.7.7"]

    async with Echo("peer").serve(await peer.listen(PEER, 8080)):
        await until(is_known, what="the name resolves")

        async def answers() -> bool:
            try:
                return await greet(await world.pod.connect("10.96.7.7", 80, timeout=15)) == ("peer", POD)
            except SandboxError as error:
                assert error.number == errno.ECONNREFUSED
                return False

        await until(answers, what="the service answers")


async def test_a_deleted_service_is_refused(world: World) -> None:
    await world.create(service("web", "10.96.7.7"), endpoint_slice("web", endpoint(PEER)))

    async def is_known() -> bool:
        return bool(await world.resolve("web.default.svc.cluster.local"))

    await until(is_known, what="the name resolves")
    await world.api.delete("/api/v1/namespaces/default/services/web")

    async def is_refused() -> bool:
        try:
            (await world.pod.connect("10.96.7.7", 80, timeout=1)).close()
        except SandboxError as error:
            return error.number == errno.ECONNREFUSED
        except TimeoutError:
            return False
        return False

    await until(is_refused, what="the address is refused")
    assert await world.resolve("web.default.svc.cluster.local") == []
