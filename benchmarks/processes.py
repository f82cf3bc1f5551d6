"""What the processes of a mesh take: `python benchmarks/processes.py [starts]`.

Discovery's start, from its process's start to its word that it is ready, on a cluster that runs, and its memory then;
the memory of all processes, without and with two pods; what a pod adds. RSS counts pages that processes
share once for each of them, PSS shares them out: sums are of PSS.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

from embedded import Cluster, build_pods, find_descendants, read_memory, running_cluster
from figures import report, report_median

_SETTLE_SECONDS = 3.0
_ROLES = {
    "lateen.cluster.main": "cluster (API server, controllers, node)",
    "lateen.pilot.main": "discovery",
    "lateen.agent.main": "agent",
    "envoy": "Envoy",
    "lateen: pod": "pod-init",
    "lateen: container": "container-init",
    "lateen: ": "node-init and zygote",
}
_GOALS = {"cluster (API server, controllers, node)": 120.0}


async def measure_discovery(cluster: Cluster) -> tuple[float, float]:
    """Seconds until ready, and RSS in MB a while later."""
    ports = [word for name in ("ads", "tls", "webhook", "http", "monitoring") for word in (f"--{name}-port", "0")]
    kubeconfig = str(cluster.state.component_kubeconfig("discovery"))
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lateen.pilot.main", "--kubeconfig", kubeconfig, *ports),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    while not json.loads(await process.stdout.readline())["ready"]:
        continue
    seconds = time.perf_counter() - started
    await asyncio.sleep(_SETTLE_SECONDS)
    memory = read_memory(process.pid)["Rss"]
    process.terminate()
    await process.wait()
    return seconds, memory


def sum_by_role(pid: int) -> dict[str, tuple[int, float]]:
    """Role -> how many processes, their PSS in MB."""
    sums: dict[str, tuple[int, float]] = {}
    for each, command in find_descendants(pid):
        role = next((role for part, role in _ROLES.items() if part in command), "applications")
        count, memory = sums.get(role, (0, 0.0))
        sums[role] = (count + 1, memory + read_memory(each).get("Pss", 0.0))
    return sums


def report_memory(title: str, sums: dict[str, tuple[int, float]]) -> float:
    for role, (count, memory) in sums.items():
        report(
            f"{title}: {role}", memory, "MB PSS", goal=_GOALS.get(role), note=f" {count} processes" if count > 1 else ""
        )
    total = sum(memory for _, memory in sums.values())
    report(f"{title}: all of it", total, "MB PSS")
    return total


async def run(starts: int) -> None:
    async with running_cluster() as cluster:
        await asyncio.sleep(_SETTLE_SECONDS)
        before = report_memory("a new mesh with its gateway", sum_by_role(cluster.pid))
        measured = [await measure_discovery(cluster) for _ in range(starts)]
        report_median("discovery: start to ready", [seconds for seconds, _ in measured], "s", goal=1.5)
        report("discovery: idle", statistics.median(memory for _, memory in measured), "MB RSS", goal=90.0)
        await cluster.create(build_pods())
        await cluster.pods_are_ready()
        await asyncio.sleep(_SETTLE_SECONDS)
        after = report_memory("and two pods with sidecars", sum_by_role(cluster.pid))
        report("a pod with sidecar and application adds", (after - before) / 2, "MB PSS")


def main() -> None:
    asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 5))


if __name__ == "__main__":
    main()
