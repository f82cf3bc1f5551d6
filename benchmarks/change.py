"""How long until both Envoys use what the API server has accepted: `python benchmarks/change.py [changes]`.

Two pods with sidecars. A PeerAuthentication goes back and forth between STRICT and DISABLE (listener of the
server, cluster of the client), then a Service gets and loses an HTTP port (cluster, endpoints, listener and routes
of both). A program in each pod asks Envoy's admin port every millisecond for its counts of updates, clusters and
listeners, active and warming, and tells when they changed last: the change is active then. Beside it, a watch tells
when the API server delivered the object, and an ADS client when discovery sent the resources.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

from embedded import NAMESPACE, Cluster, build_pods, find_kind, running_cluster
from figures import report_median
from lateen.envoy.messages import message_class
from lateen.kube.exec import run_in_pod
from lateen.testing.ads_client import AdsClient
from lateen.testing.poll import until
from lateen.xds.resources import CLUSTER

_GOAL_MS = 30.0
_QUIET_SECONDS = 0.25
_WARM_UP = 3
_PROBE = r"""
import http.client, sys, time
envoy = http.client.HTTPConnection("127.0.0.1", 15000)
counts = "update_success|active_clusters|warming_clusters|listeners_active|listeners_warming"
path = "/stats?filter=^(cluster|listener)_manager.*(" + counts + ")$"
before = None
while True:
    envoy.request("GET", path)
    now = envoy.getresponse().read()
    if now != before:
        print(time.monotonic(), flush=True)
    before = now
    time.sleep(0.001)
"""

Change = Callable[[], Awaitable[object]]


class Witnesses:
    """When something was last seen: in each pod's Envoy, on a watch, on an ADS stream. Times are CLOCK_MONOTONIC's."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.seen: dict[str, float] = {}
        self.first: dict[str, float] = {}

    def forget(self) -> None:
        self.first.clear()
        self.seen.clear()

    def note(self, who: str, at: float) -> None:
        self.first.setdefault(who, at)
        self.seen[who] = at

    async def follow_envoy(self, pod: str) -> None:
        def take(output: bytes) -> None:
            for line in output.split():
                self.note(pod, float(line))

        command = ["/opt/lateen/python/bin/python3", "-S", "-c", _PROBE]
        await run_in_pod(
            self._cluster.client,
            NAMESPACE,
            pod,
            command,
            container="curl",
            on_stdout=take,
            on_stderr=sys.stderr.buffer.write,
        )

    async def follow_watch(self, word: str) -> None:
        listed = await self._cluster.client.list(find_kind(word), NAMESPACE)
        events = self._cluster.client.watch(find_kind(word), NAMESPACE, resource_version=listed.resource_version)
        async for _ in events:
            self.note("watch", time.monotonic())

    @asynccontextmanager
    async def follow_discovery(self) -> AsyncIterator[None]:
        node = message_class("envoy.config.core.v3.Node")(
            id=f"sidecar~10.244.255.9~witness.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"
        )
        client = AdsClient(
            f"127.0.0.1:{self._cluster.ports['ads']}",
            node=node.SerializeToString(deterministic=True),
            refuse=lambda _: self.note("discovery", time.monotonic()),
        )
        async with client:
            client.subscribe(CLUSTER)
            await until(lambda: client.held[CLUSTER], what="the witness has clusters")
            yield

    async def settled(self) -> None:
        """Wait until both Envoys have shown something new and nothing for a while."""

        def is_quiet() -> bool:
            envoys = [self.seen.get("client", 0.0), self.seen.get("server", 0.0)]
            return all(envoys) and time.monotonic() - max(envoys) > _QUIET_SECONDS

        await until(is_quiet, what="both Envoys have the change")


async def measure(witnesses: Witnesses, changes: Iterator[Change], count: int) -> list[dict[str, float]]:
    """Milliseconds after the API server's answer of each stage, for each change."""
    results = []
    for number in range(count + _WARM_UP):
        witnesses.forget()
        sent = time.monotonic()
        await next(changes)()
        accepted = time.monotonic()
        await witnesses.settled()
        stages = {
            "watch event": witnesses.first["watch"],
            "sent by discovery": witnesses.first["discovery"],
            "seen in one Envoy": min(witnesses.first["client"], witnesses.first["server"]),
            "active in both Envoys": max(witnesses.seen["client"], witnesses.seen["server"]),
        }
        if number >= _WARM_UP:
            after = {f"answer -> {stage}": (at - accepted) * 1000 for stage, at in stages.items()}
            results.append({"request -> answer": (accepted - sent) * 1000, **after})
    return results


def alternate_policy(cluster: Cluster) -> Iterator[Change]:
    kind, number = find_kind("peerauthentications"), 0
    while True:
        number += 1
        spec = {"mtls": {"mode": "DISABLE" if number % 2 else "STRICT"}}
        yield lambda spec=spec: cluster.client.patch(kind, NAMESPACE, "server", {"spec": spec})


def alternate_port(cluster: Cluster) -> Iterator[Change]:
    kind, number = find_kind("services"), 0
    http = {"name": "http", "port": 80, "targetPort": 8080}
    while True:
        number += 1
        ports = [http, {"name": "http-more", "port": 9000, "targetPort": 8080}] if number % 2 else [http]
        yield lambda ports=ports: cluster.client.patch(kind, NAMESPACE, "server", {"spec": {"ports": ports}})


def show(what: str, results: list[dict[str, float]]) -> None:
    for stage in results[0]:
        goal = _GOAL_MS if stage.endswith("active in both Envoys") else None
        report_median(f"{what}: {stage}", [result[stage] for result in results], "ms", goal=goal)


async def run(count: int) -> None:
    async with running_cluster() as cluster:
        policy = {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "server", "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": "server"}}, "mtls": {"mode": "STRICT"}},
        }
        await cluster.create([*build_pods(), policy])
        await cluster.pods_are_ready()
        for word, what, alternate in (
            ("peerauthentications", "PeerAuthentication", alternate_policy),
            ("services", "Service port", alternate_port),
        ):
            witnesses = Witnesses(cluster)
            async with witnesses.follow_discovery():
                follows = (
                    witnesses.follow_envoy("client"),
                    witnesses.follow_envoy("server"),
                    witnesses.follow_watch(word),
                )
                tasks = [asyncio.create_task(follow) for follow in follows]
                try:
                    await witnesses.settled()
                    show(what, await measure(witnesses, alternate(cluster), count))
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 40))


if __name__ == "__main__":
    main()
