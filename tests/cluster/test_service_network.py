"""Services as pods meet them: real namespaces, real rules, sockets opened inside."""

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from service_documents import Document, directory_of, endpoint, endpoint_slice, put, service

from lateen.cluster.network.nft import Batch
from lateen.cluster.network.services import TABLE
from lateen.cluster.node.sandbox import NodeNamespace, SandboxError
from lateen.cluster.node_services import ServiceRules
from lateen.cluster.service_directory import ServiceDirectory
from lateen.runtime.tasks import TaskSet
from lateen.testing.node import Echo, greet, open_pod, run_node_namespace
from lateen.testing.poll import until

VIP = "10.96.7.7"
CLIENT, ONE, TWO = "10.244.0.5", "10.244.0.6", "10.244.0.7"


@pytest_asyncio.fixture
async def node() -> AsyncIterator[NodeNamespace]:
    async with run_node_namespace() as namespace:
        yield namespace


class Rules:
    """Service rules of the node that follow a directory; `put` returns when they are in place."""

    def __init__(self, node: NodeNamespace, tasks: TaskSet, directory: ServiceDirectory) -> None:
        self.directory = directory
        self.rules = ServiceRules(directory, node)
        self.rules.mark(set(directory.services))
        tasks.start(self.rules.run(), name="rules")


@pytest_asyncio.fixture
async def tasks() -> AsyncIterator[TaskSet]:
    found = TaskSet("test")
    yield found
    await found.close()


async def run_rules(node: NodeNamespace, tasks: TaskSet, *documents: Document) -> Rules:
    rules = Rules(node, tasks, directory_of(*documents))
    await rules.rules.applied.wait()
    return rules


async def test_a_cluster_ip_reaches_each_of_its_endpoints(node: NodeNamespace, tasks: TaskSet) -> None:
    client, one, two = [await open_pod(node, address) for address in (CLIENT, ONE, TWO)]
    await run_rules(node, tasks, service("web", VIP), endpoint_slice("web", endpoint(ONE), endpoint(TWO)))
    async with Echo("one").serve(await one.listen(ONE, 8080)), Echo("two").serve(await two.listen(TWO, 8080)):
        met: dict[str, str] = {}

        async def call() -> bool:
            name, source = await greet(await client.connect(VIP, 80))
            met[name] = source
            return len(met) == 2

        await until(call, what="both endpoints answered")
    assert met == {"one": CLIENT, "two": CLIENT}, "endpoints see the client's address"


async def test_a_pod_reaches_itself_through_its_service(node: NodeNamespace, tasks: TaskSet) -> None:
    one = await open_pod(node, ONE)
    await run_rules(node, tasks, service("web", VIP), endpoint_slice("web", endpoint(ONE)))
    async with Echo("one").serve(await one.listen(ONE, 8080)):
        assert await greet(await one.connect(VIP, 80)) == ("one", "10.244.0.1")


async def test_the_node_itself_reaches_services(node: NodeNamespace, tasks: TaskSet) -> None:
    one = await open_pod(node, ONE)
    await run_rules(node, tasks, service("web", VIP), endpoint_slice("web", endpoint(ONE)))
    async with Echo("one").serve(await one.listen(ONE, 8080)):
        assert await greet(await node.connect(VIP, 80)) == ("one", "10.244.0.1")


@pytest.mark.parametrize(
    ("address", "port"),
    [
        pytest.param(VIP, 80, id="no endpoints"),
        pytest.param(VIP, 81, id="no such port"),
        pytest.param("10.96.200.1", 80, id="no such service"),
    ],
)
@pytest.mark.parametrize("source", ["pod", "node"])
async def test_what_nobody_serves_is_refused_at_once(
    node: NodeNamespace, tasks: TaskSet, address: str, port: int, source: str
) -> None:
    client = await open_pod(node, CLIENT)
    await run_rules(node, tasks, service("web", VIP), endpoint_slice("web"))
    with pytest.raises(SandboxError) as refusal:
        await (client if source == "pod" else node).connect(address, port, timeout=15)
    assert refusal.value.number == errno.ECONNREFUSED


async def test_udp_is_answered_from_the_cluster_ip(node: NodeNamespace, tasks: TaskSet) -> None:
    client, one = [await open_pod(node, address) for address in (CLIENT, ONE)]
    ports = [{"name": "echo", "port": 5353, "protocol": "UDP"}]
    await run_rules(
        node,
        tasks,
        service("udp", VIP, ports=ports),
        endpoint_slice("udp", endpoint(ONE), ports=[{**ports[0], "port": 53}]),
    )
    loop = asyncio.get_running_loop()
    with await one.listen(ONE, 53, datagram=True) as server, await client.listen(CLIENT, 0, datagram=True) as asking:
        await loop.sock_sendto(asking, b"hello", (VIP, 5353))
        data, sender = await asyncio.wait_for(loop.sock_recvfrom(server, 100), 15)
        assert (data, sender[0]) == (b"hello", CLIENT)
        await loop.sock_sendto(server, b"world", sender)
        assert await asyncio.wait_for(loop.sock_recvfrom(asking, 100), 15) == (b"world", (VIP, 5353))


async def test_rules_follow_endpoints_and_old_connections_stay(node: NodeNamespace, tasks: TaskSet) -> None:
    client, one, two = [await open_pod(node, address) for address in (CLIENT, ONE, TWO)]
    rules = await run_rules(node, tasks, service("web", VIP), endpoint_slice("web", endpoint(ONE)))
    async with Echo("one").serve(await one.listen(ONE, 8080)), Echo("two").serve(await two.listen(TWO, 8080)):
        reader, writer = await asyncio.open_connection(sock=await client.connect(VIP, 80))
        assert await reader.readline() == f"one {CLIENT}\n".encode()
        rules.rules.mark(put(rules.directory, endpoint_slice("web", endpoint(TWO))))

        async def call() -> bool:
            name, _source = await greet(await client.connect(VIP, 80))
            return name == "two"

        await until(call, what="new connections reach the new endpoint")
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        writer.close()
        await writer.wait_closed()


async def test_a_table_that_was_lost_is_built_anew(node: NodeNamespace, tasks: TaskSet) -> None:
    client, one = [await open_pod(node, address) for address in (CLIENT, ONE)]
    rules = await run_rules(node, tasks, service("web", VIP), endpoint_slice("web"))
    await node.apply_rules(Batch(TABLE).delete_table())
    rules.rules.mark(put(rules.directory, endpoint_slice("web", endpoint(ONE))))
    async with Echo("one").serve(await one.listen(ONE, 8080)):

        async def call() -> bool:
            try:
                return await greet(await client.connect(VIP, 80, timeout=1)) == ("one", CLIENT)
            except (SandboxError, TimeoutError):
                return False

        await until(call, what="the service is reachable again")


async def test_one_cluster_ip_passes_from_a_deleted_service_to_a_new_one(node: NodeNamespace, tasks: TaskSet) -> None:
    client, one, two = [await open_pod(node, address) for address in (CLIENT, ONE, TWO)]
    rules = await run_rules(
        node, tasks, service("old", VIP), endpoint_slice("old", endpoint(ONE)), endpoint_slice("new", endpoint(TWO))
    )
    # The node hears of the new Service before it hears that the old one is gone.
    rules.rules.mark(put(rules.directory, service("new", VIP)))
    async with Echo("one").serve(await one.listen(ONE, 8080)), Echo("two").serve(await two.listen(TWO, 8080)):

        async def call() -> bool:
            return (await greet(await client.connect(VIP, 80)))[0] == "two"

        await until(call, what="the new service answers")
