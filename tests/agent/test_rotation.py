"""Certificates that live for seconds, between two real Envoys under traffic: every request must be answered."""

import asyncio
import contextlib
import socket

from agent_envoys import build_client_envoy, build_server_envoy
from agent_rig import Agent

from lateen.envoy.process import EnvoyProcess
from lateen.testing.poll import until

LIFETIME = "4s"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Traffic:
    """Requests without pause through the client's Envoy, and whoever failed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: list[str] = []
        self.stopped = False

    @property
    def failures(self) -> list[str]:
        return [answer for answer in self.answers if not answer.startswith("HTTP/1.1 200")]

    async def run(self) -> None:
        while not self.stopped:
            self.answers.append(await self.send())

    async def send(self) -> str:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n")
            answer = (await reader.read()).decode()
            writer.close()
            await writer.wait_closed()
        except OSError as error:
            return str(error)
        return answer or "no answer"


class Pair:
    """Two Envoys with the agent's secrets, mTLS between them, and what they say of themselves."""

    def __init__(self, server: EnvoyProcess, client: EnvoyProcess, traffic: Traffic) -> None:
        self.server = server
        self.client = client
        self.traffic = traffic

    async def serials(self) -> tuple[str, str]:
        """The certificate each uses now."""
        found = []
        for envoy in (self.server, self.client):
            certificates = (await envoy.admin.get_certificates()).get("certificates", [])
            chains = [chain for each in certificates for chain in each.get("cert_chain", [])]
            found.append(chains[0]["serial_number"] if chains else "")
        return found[0], found[1]

    async def wait_both_other(self, before: tuple[str, str]) -> tuple[str, str]:
        async def both_other():
            now = await self.serials()
            return now if all(now) and now[0] != before[0] and now[1] != before[1] else None

        return await until(both_other, what="both Envoys have a new certificate")


@contextlib.asynccontextmanager
async def talking(node, tmp_path):
    server_pod = await node.add_pod("server")
    client_pod = await node.add_pod("client")
    tls_port, plain_port = free_port(), free_port()
    folders = [tmp_path / name for name in ("server", "client")]
    for folder in folders:
        folder.mkdir()
    server = EnvoyProcess(build_server_envoy(server_pod.ads_socket, tls_port), folders[0])
    client = EnvoyProcess(build_client_envoy(client_pod.ads_socket, plain_port, tls_port), folders[1])
    async with server, client:
        await server.wait_ready()
        await client.wait_ready()
        traffic = Traffic(plain_port)
        await until(lambda: _answers_ok(traffic), what="the first request is answered")
        senders = [asyncio.create_task(traffic.run()) for _ in range(4)]
        try:
            yield Pair(server, client, traffic)
        finally:
            traffic.stopped = True
            await asyncio.gather(*senders)


async def _answers_ok(traffic: Traffic) -> bool:
    return (await traffic.send()).startswith("HTTP/1.1 200")


async def test_rotation_under_traffic_fails_no_request(node, discovery, tmp_path):
    async with Agent(node, discovery, lifetime=LIFETIME), talking(node, tmp_path) as pair:
        serials = await pair.serials()
        for _ in range(3):
            serials = await pair.wait_both_other(serials)
        count = len(pair.traffic.answers)
        await until(lambda: len(pair.traffic.answers) > count + 50)
        assert pair.traffic.failures == []
        assert "spiffe://cluster.local/ns/shop/sa/client" in pair.traffic.answers[-1]
        handshakes = await pair.server.admin.get_stats("ssl.handshake")
        assert sum(handshakes.values()) > 50


async def test_a_new_root_is_trusted_before_it_signs_and_no_request_fails(node, discovery, tmp_path):
    async with Agent(node, discovery, lifetime=LIFETIME), talking(node, tmp_path) as pair:
        serials = await pair.serials()
        both = discovery.add_root()
        for name in ("server", "client"):
            (node.folder / name / "root-cert.pem").write_bytes(both)
        await until(lambda: _trusts_two(pair), what="both Envoys trust both roots")
        discovery.sign_with_new_root()
        for _ in range(2):
            serials = await pair.wait_both_other(serials)
        assert pair.traffic.failures == []


async def _trusts_two(pair: Pair) -> bool:
    for envoy in (pair.server, pair.client):
        certificates = (await envoy.admin.get_certificates()).get("certificates", [])
        serials = {ca["serial_number"] for each in certificates for ca in each.get("ca_cert", [])}
        if len(serials) < 2:
            return False
    return True


async def test_while_the_authority_is_away_the_old_certificate_serves_and_then_is_renewed(node, discovery, tmp_path):
    async with Agent(node, discovery, lifetime="8s") as agent, talking(node, tmp_path) as pair:
        serials = await pair.serials()
        await discovery.stop()
        asked = agent.log.read_text().count("asking for a certificate")
        await until(lambda: agent.log.read_text().count("asking for a certificate") >= asked + 2)
        assert await pair.serials() == serials
        await discovery.start()
        await pair.wait_both_other(serials)
        assert pair.traffic.failures == []


async def test_killing_the_agent_ends_no_connection_and_new_ones_work(node, discovery, tmp_path):
    async with Agent(node, discovery) as agent, talking(node, tmp_path) as pair:
        serials = await pair.serials()
        await agent.kill()
        count = len(pair.traffic.answers)
        await until(lambda: len(pair.traffic.answers) > count + 50)
        assert await pair.serials() == serials
        await agent.start()
        await pair.wait_both_other(serials)
        assert pair.traffic.failures == []
