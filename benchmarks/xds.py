"""N light ADS clients on S services: what connecting and one change cost the server.

    python benchmarks/xds.py [--services 1000] [--clients 50]

The server runs here, without Kubernetes: documents go straight into the database. The clients run in a process
of their own, ask as Envoy does (clusters, their endpoints, listeners, their routes) and acknowledge. Measured:
server CPU, bytes, time until the last client, memory, recomputed queries, and the longest time that the event loop
stood still.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from figures import report_median
from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.objects import key_of
from lateen.envoy.messages import message_class
from lateen.incremental.database import Database
from lateen.kube.informer import Change, ChangeType
from lateen.pilot.admission import read_proxy
from lateen.pilot.push import Pusher
from lateen.pilot.viewer import ProxyViewer
from lateen.runtime.clock import SystemClock
from lateen.runtime.garbage import keep_pauses_short
from lateen.runtime.grpc import build_server, listen_plain
from lateen.runtime.metrics import Metrics
from lateen.runtime.pace import Pace
from lateen.testing.ads_client import AdsClient
from lateen.testing.mesh import PORT, build_mesh, build_service, build_slice, find_cluster
from lateen.testing.poll import until
from lateen.xds.index import SubscriptionIndex
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE
from lateen.xds.server import AdsServer, Caller
from lateen.xds.streams import Viewer

KINDS = Registry(BUILTIN)
_CHANGES = 9


def build_node(number: int) -> bytes:
    namespace = f"ns{number % 20}"
    node = message_class("envoy.config.core.v3.Node")(
        id=f"sidecar~10.245.0.{number}~client{number}.{namespace}~{namespace}.svc.cluster.local"
    )
    encoded: bytes = node.SerializeToString(deterministic=True)
    return encoded


class Clients:
    """The client process's half."""

    def __init__(self, target: str, services: int, count: int) -> None:
        self._names = [find_cluster(number) for number in range(services)]
        self._all = [AdsClient(target, node=build_node(number), keep_values=False) for number in range(count)]

    async def run(self) -> None:
        """Answer commands on standard input until it closes."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command, *arguments = json.loads(line)
            started = time.perf_counter()
            before = sum(client.total_bytes for client in self._all)
            await getattr(self, f"do_{command}")(*arguments)
            sent = sum(client.total_bytes for client in self._all) - before
            print(json.dumps({"seconds": time.perf_counter() - started, "bytes": sent}), flush=True)

    async def do_connect(self) -> None:
        await asyncio.gather(*(self._connect(client) for client in self._all))

    async def _connect(self, client: AdsClient) -> None:
        await client.__aenter__()
        client.subscribe(CLUSTER)
        await until(lambda: client.held[CLUSTER], deadline_seconds=300)
        client.subscribe(ENDPOINT, self._names)
        await until(lambda: len(client.held[ENDPOINT]) == len(self._names), deadline_seconds=300)
        client.subscribe(LISTENER)
        await until(lambda: client.held[LISTENER], deadline_seconds=300)
        client.subscribe(ROUTE, [str(PORT)])
        await until(lambda: client.held[ROUTE], deadline_seconds=300)

    async def do_note(self, type_url: str, name: str) -> None:
        """Remember the version that everybody has."""
        self._old = {client.held[type_url][name].version for client in self._all}

    async def do_await(self, type_url: str, name: str) -> None:
        """Wait until everybody has another version."""
        for client in self._all:
            await until(lambda client=client: client.held[type_url][name].version not in self._old)


@dataclass
class Server:
    """The server's half, with its meters."""

    db: Database = field(default_factory=Database)
    pace: Pace = field(default_factory=Pace)
    index: SubscriptionIndex = field(default_factory=SubscriptionIndex)
    longest_stall: float = 0.0

    def __post_init__(self) -> None:
        metrics = Metrics()
        self.pusher = Pusher(self.db, self.index, self.pace, metrics)
        self.ads = AdsServer(self.admit, self.index, metrics, self.pace)

    async def admit(self, caller: Caller, node: bytes) -> Viewer:
        return ProxyViewer(read_proxy(node), self.db, self.pace)

    def submit(self, *documents: dict[str, Any]) -> None:
        changes = []
        for document in documents:
            kind = KINDS.find_document(document)
            assert kind is not None
            changes.append(Change(ChangeType.MODIFIED, kind, key_of(document), None, document))
        self.pusher.submit(changes)

    async def watch_loop(self) -> None:
        """Measure what the loop's thread computes between two turns; what other processes take does not count."""
        while True:
            started = time.thread_time()
            await asyncio.sleep(0.001)
            self.longest_stall = max(self.longest_stall, time.thread_time() - started)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[int]:
        server = build_server([self.ads.build_handler(is_encrypted=False)])
        port = listen_plain(server, "127.0.0.1:0")
        work = (self.pusher.run(), self.watch_loop(), keep_pauses_short(SystemClock()))
        tasks = [asyncio.create_task(each) for each in work]
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)
            for task in tasks:
                task.cancel()


def read_memory() -> float:
    """RSS in MB."""
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


_UNITS = {
    "last client": "ms",
    "server CPU": "ms",
    "sent": "MB",
    "longest stall": "ms",
    "recomputed": "queries",
    "RSS after": "MB",
}
_GOALS = {
    ("connect", "server CPU"): 1700.0,
    ("connect", "RSS after"): 300.0,
    ("one endpoint change", "last client"): 20.0,
    ("one endpoint change", "server CPU"): 30.0,
    ("one endpoint change", "longest stall"): 20.0,
    ("one Service change", "longest stall"): 20.0,
}
"""Of 1,000 services and 50 proxies."""


class Report:
    """Runs the steps and keeps what they cost."""

    def __init__(self, server: Server, process: asyncio.subprocess.Process, *, is_full_size: bool) -> None:
        self._server, self._process, self._is_full_size = server, process, is_full_size
        self._measured: dict[tuple[str, str], list[float]] = {}

    async def tell(self, *command: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        answer: dict[str, float] = json.loads(await self._process.stdout.readline())
        return answer

    async def measure(self, title: str, *command: str, documents: tuple[dict[str, Any], ...] = ()) -> None:
        """Run a step and report it; its figures are medians where it is run more than once."""
        self._server.longest_stall = 0.0
        recomputed, cpu, started = self._server.db.counts.recomputed, time.process_time(), time.perf_counter()
        self._server.submit(*documents)
        answer = await self.tell(*command)
        figures = {
            "last client": (time.perf_counter() - started) * 1000,
            "server CPU": (time.process_time() - cpu) * 1000,
            "sent": answer["bytes"] / 1e6,
            "longest stall": self._server.longest_stall * 1000,
            "recomputed": self._server.db.counts.recomputed - recomputed,
            "RSS after": read_memory(),
        }
        for name, value in figures.items():
            self._measured.setdefault((title, name), []).append(value)

    def show(self) -> None:
        """Report all that was measured."""
        for (title, name), values in self._measured.items():
            goal = _GOALS.get((title, name)) if self._is_full_size else None
            report_median(f"{title}: {name}", values, _UNITS[name], goal=goal)


async def run(services: int, clients: int) -> None:
    server = Server()
    async with server.run() as port:
        server.submit(*build_mesh(services))
        await server.pusher.settled()
        print(f"{services} services, {clients} clients; RSS before {read_memory():.0f} MB", flush=True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--services", str(services), "--clients", str(clients)),
            *("--target", f"127.0.0.1:{port}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        report = Report(server, process, is_full_size=(services, clients) == (1000, 50))
        await report.measure("connect", "connect")
        for change in range(_CHANGES):
            await report.tell("note", ENDPOINT, find_cluster(7))
            moved = build_slice(7, f"10.243.0.{change + 1}")
            await report.measure("one endpoint change", "await", ENDPOINT, find_cluster(7), documents=(moved,))
        for change in range(_CHANGES):
            await report.tell("note", CLUSTER, find_cluster(7))
            document = build_service(7)
            document["spec"]["ports"][0]["name"] = "http" if change % 2 else "http2"
            await report.measure("one Service change", "await", CLUSTER, find_cluster(7), documents=(document,))
        report.show()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.target:
        asyncio.run(Clients(arguments.target, arguments.services, arguments.clients).run())
    else:
        asyncio.run(run(arguments.services, arguments.clients))


if __name__ == "__main__":
    main()
