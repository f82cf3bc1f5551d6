"""The control plane on a real API server, seen by ADS clients over real sockets."""

import asyncio
import json
import os
import signal
import sys

import aiohttp
import grpc
import pytest
from control_plane import (
    ANY_PORTS,
    SERVER_NAME,
    Cluster,
    build_node,
    build_pod,
    build_service,
    build_slice,
    plain_client,
    run_discovery,
    spawn_discovery,
)

from lateen.base.errors import ConflictError
from lateen.pilot.discovery import Discovery
from lateen.pilot.options import Ports
from lateen.testing.ads_client import AdsClient
from lateen.testing.poll import until
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

REVIEWS = "outbound|80||reviews.default.svc.cluster.local"


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_what_is_applied_reaches_the_proxy(cluster: Cluster, discovery: Discovery) -> None:
    async with plain_client(discovery) as client:
        client.subscribe(CLUSTER)
        client.subscribe(LISTENER)
        await until(lambda: "PassthroughCluster" in client.held[CLUSTER])

        await cluster.put(build_service("reviews"))
        await until(lambda: REVIEWS in client.held[CLUSTER])
        client.subscribe(ENDPOINT, [REVIEWS])
        client.subscribe(ROUTE, ["80"])
        await until(lambda: "80" in client.held[ROUTE])
        await cluster.put(build_slice("reviews", "10.244.0.7"))
        await until(lambda: b"10.244.0.7" in client.held[ENDPOINT][REVIEWS].value)

        await cluster.delete("Service", "reviews")
        await until(lambda: REVIEWS not in client.held[CLUSTER])
        assert (CLUSTER, REVIEWS) in client.removed


async def test_a_policy_reaches_the_proxy_that_enforces_it(cluster: Cluster, discovery: Discovery) -> None:
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "nothing", "namespace": "default"},
        "spec": {},
    }
    name = b"ns[default]-policy[nothing]-rule[0]"
    async with plain_client(discovery) as client:
        client.subscribe(LISTENER)
        await until(lambda: "virtualInbound" in client.held[LISTENER])
        assert name not in client.held[LISTENER]["virtualInbound"].value
        await cluster.put(policy)
        await until(lambda: name in client.held[LISTENER]["virtualInbound"].value)
        await cluster.delete("AuthorizationPolicy", "nothing")
        await until(lambda: name not in client.held[LISTENER]["virtualInbound"].value)


async def test_a_change_is_sent_to_those_it_concerns_and_alone(cluster: Cluster, discovery: Discovery) -> None:
    for name in ("reviews", "ratings"):
        await cluster.put(build_service(name))
        await cluster.put(build_slice(name, "10.244.0.7"))
    async with plain_client(discovery) as client:
        client.subscribe(CLUSTER)
        client.subscribe(ENDPOINT, [REVIEWS])
        await until(lambda: b"10.244.0.7" in getattr(client.held[ENDPOINT].get(REVIEWS), "value", b""))
        seen = len(client.responses)
        await cluster.put(build_slice("ratings", "10.244.0.8"))
        await cluster.put(build_slice("reviews", "10.244.0.8"))
        await until(lambda: b"10.244.0.8" in client.held[ENDPOINT][REVIEWS].value)
        assert [list(response.resources) for response in client.responses[seen:]] == [[REVIEWS]]


async def test_a_proxy_proves_who_it_is_on_the_encrypted_port(cluster: Cluster, discovery: Discovery) -> None:
    for pod in ("mine", "other"):
        await cluster.put(build_pod(pod))
    token = await cluster.create_token("mine")
    roots = await cluster.read_roots()

    def connect(node: bytes, token: str | None) -> AdsClient:
        target = f"127.0.0.1:{discovery.ports.tls}"
        return AdsClient(target, node=node, token=token, roots_pem=roots, server_name=SERVER_NAME)

    async with connect(build_node("mine"), token) as client:
        client.subscribe(CLUSTER)
        await until(lambda: client.held[CLUSTER])
        client.subscribe(SECRET, ["default", "ROOTCA", "kubernetes://credential"])
        await until(lambda: len(client.removed) == 3)
        assert not client.held[SECRET]

    wrong_audience = await cluster.create_token("mine", audience="somebody-else")
    for node, shown in (
        (build_node("other"), token),
        (build_node("mine", "kube-system"), token),
        (build_node("mine", SERVICE_ACCOUNT="admin"), token),
        (build_node("mine"), "nonsense"),
        (build_node("mine"), wrong_audience),
        (build_node("mine"), None),
    ):
        async with connect(node, shown) as client:
            client.subscribe(CLUSTER)
            failure = await until(lambda client=client: client.failure)
            assert failure.code() == grpc.StatusCode.UNAUTHENTICATED
            assert client.total_bytes == 0


async def test_the_plaintext_port_gives_no_secret_and_signs_nothing(discovery: Discovery) -> None:
    async with plain_client(discovery) as client:
        client.subscribe(SECRET, ["default", "ROOTCA", "kubernetes://credential"])
        await until(lambda: len(client.removed) == 3)
        assert not client.held[SECRET]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{discovery.ports.ads}") as channel:
        sign = channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await sign(b"")
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("node", [b"", b"\xff", build_node("x").replace(b"sidecar", b"visitor")])
async def test_a_node_that_says_nothing_useful_is_told_so(discovery: Discovery, node: bytes) -> None:
    async with AdsClient(f"127.0.0.1:{discovery.ports.ads}", node=node) as client:
        client.subscribe(CLUSTER)
        failure = await until(lambda: client.failure)
        assert failure.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert failure.details()


async def test_status_is_told_over_http(cluster: Cluster, discovery: Discovery) -> None:
    assert await get(discovery.ports.http, "/ready") == (200, "ready\n")
    async with plain_client(
        discovery, refuse=lambda response: "virtualOutbound: no" if response.type_url == LISTENER else None
    ) as client:
        client.subscribe(CLUSTER)
        client.subscribe(LISTENER)
        client.subscribe(ROUTE, ["80"])
        await until(lambda: len(client.responses) == 3)

        async def is_settled() -> bool:
            _, text = await get(discovery.ports.http, "/debug/syncz")
            (status,) = json.loads(text)
            return bool(status["cluster_acked"] == status["cluster_sent"] != "" and "listener_refused" in status)

        await until(is_settled)
        code, dump = await get(discovery.ports.http, "/debug/config_dump?proxyID=client.default")
        assert code == 200
        assert "PassthroughCluster" in dump
        code, text = await get(discovery.ports.http, "/debug/config_dump?proxyID=nobody")
        assert (code, "client.default" in text) == (404, True)
    _, metrics = await get(discovery.ports.monitoring, "/metrics")
    assert 'pilot_xds_pushes{type="cds"} 1' in metrics
    assert 'pilot_total_xds_rejects{type="lds"} 1' in metrics
    assert (await get(discovery.ports.monitoring, "/version"))[0] == 200


async def test_a_taken_port_is_named(cluster: Cluster, discovery: Discovery) -> None:
    for ports in (Ports(0, 0, discovery.ports.http, 0, 0), Ports(discovery.ports.ads, 0, 0, 0, 0)):
        with pytest.raises(ConflictError, match=str(ports.http or ports.ads)):
            async with run_discovery(cluster, ports):
                pass


async def test_after_a_restart_a_proxy_gets_no_resource_again(cluster: Cluster) -> None:
    for name in ("reviews", "ratings"):
        await cluster.put(build_service(name))
        await cluster.put(build_slice(name, "10.244.0.7"))
    async with spawn_discovery(cluster, *ANY_PORTS) as (process, ports):
        client = AdsClient(f"127.0.0.1:{ports['ads']}", node=build_node("client"))
        async with client:
            client.subscribe(CLUSTER)
            client.subscribe(LISTENER)
            client.subscribe(ENDPOINT, [REVIEWS])
            client.subscribe(ROUTE, ["80"])
            await until(lambda: all(client.held[each] for each in (CLUSTER, LISTENER, ENDPOINT, ROUTE)))
            process.send_signal(signal.SIGKILL)
            await until(lambda: client.failure)
    before = client.total_bytes
    async with spawn_discovery(cluster, *ANY_PORTS, f"--ads-port={ports['ads']}"), client:
        client.subscribe(SECRET, ["marker"])
        await until(lambda: (SECRET, "marker") in client.removed)
        assert client.total_bytes - client.received_bytes[SECRET] == before


async def test_a_signal_ends_it_and_the_ports_file_tells_the_ports(cluster: Cluster) -> None:
    file = cluster.state / "ports.json"
    async with spawn_discovery(cluster, *ANY_PORTS, "--ports-file", str(file)) as (process, ports):
        assert json.loads(file.read_text()) == ports
        assert all(ports.values())
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_it_dies_with_its_parent(cluster: Cluster) -> None:
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'lateen.pilot.main', '--die-with-parent',"
        f" '--kubeconfig', {str(cluster.kubeconfig)!r}, *{ANY_PORTS!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )

    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"

    await until(is_gone)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--ads-port", "70000"], 64, "is no port"),
        (["--nonsense"], 64, "--nonsense"),
        (["--kubeconfig", "/nowhere"], 66, "/nowhere"),
    ],
)
async def test_a_wrong_command_line_is_one_clear_message(arguments: list[str], status: int, message: str) -> None:

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lateen.pilot.main",
        *arguments,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == status
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()
