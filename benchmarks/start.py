"""How long from `lateen up` to the first request between two pods, phase by phase: `python benchmarks/start.py [runs]`.

Flow: daemon -> its steps -> Namespace, Service and two pods with sidecars -> pods ready -> first 200 through both
sidecars -> one more request, the exec included -> the namespace deleted -> the daemon stopped.
"""

from __future__ import annotations

import asyncio
import sys
import time

from embedded import Stopwatch, build_pods, running_cluster
from figures import report_median
from lateen.testing.poll import until

_PHASES = {
    "the machine can run pods": "up: interpreter, look at the machine",
    "the API server listens": "up: API server",
    "the control plane is ready": "up: control plane",
    "the node is ready": "up: node",
}
_GOAL_SECONDS = 8.0


async def measure() -> dict[str, float]:
    """Seconds of each phase of one run."""
    times: dict[str, float] = {}
    stopwatch, started = Stopwatch(), time.perf_counter()
    async with running_cluster(stopwatch) as cluster:
        for text, seconds in stopwatch.times:
            times[next(name for start, name in _PHASES.items() if text.startswith(start))] = seconds
        times["up, all of it"] = last = time.perf_counter() - started

        def take(phase: str) -> None:
            nonlocal last
            now = time.perf_counter() - started
            times[phase], last = now - last, now

        async def is_answered() -> bool:
            code, _ = await cluster.run("client", ["curl", "-sf", "http://server/"])
            return code == 0

        await cluster.create(build_pods())
        take("objects accepted")
        await cluster.pods_are_ready()
        take("both pods ready")
        await until(is_answered, what="a request through both sidecars")
        take("first request")
        times["up to first request, all of it"] = last
        await is_answered()
        take("a request more, with its exec")
        await cluster.delete_namespace()
        take("namespace deleted")
    take("down")
    return times


def main() -> None:
    runs = [asyncio.run(measure()) for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)]
    for phase in runs[0]:
        goal = _GOAL_SECONDS if phase == "up to first request, all of it" else None
        report_median(phase, [run[phase] for run in runs], "s", goal=goal)


if __name__ == "__main__":
    main()
