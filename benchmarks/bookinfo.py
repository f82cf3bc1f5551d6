"""What Istio's Bookinfo costs here: `python benchmarks/bookinfo.py [changes] [samples]`.

Flow: a new cluster -> Bookinfo and its gateway -> first 200 of the page through the gateway's host port -> memory of
all processes when idle -> a VirtualService that changes, from the API server's answer to the last Envoy with it.
Envoy itself notes when it took its routes (`last_updated` of its config dump), so that nothing is polled meanwhile.
`samples` is the folder of that name in an Istio release.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from embedded import Cluster, Stopwatch, find_kind, is_ready, running_cluster
from figures import report, report_median
from lateen.kube.exec import run_in_pod
from lateen.testing.poll import until
from processes import report_memory, sum_by_role

_SAMPLES = Path(__file__).parents[2] / "shared" / "samples"
_SETTLE_SECONDS = 8.0
_DUMP = ["curl", "-s", "http://127.0.0.1:15000/config_dump?resource=dynamic_route_configs"]
_INGRESS = ("istio-system", "istio-ingressgateway")


async def find_page_port(cluster: Cluster) -> int:
    """The host port of the gateway's port 80."""
    service = await cluster.client.get(find_kind("services"), *_INGRESS)
    return next(int(port["nodePort"]) for port in service["spec"]["ports"] if port["port"] == 80)


async def is_served(port: int) -> bool:
    """Whether the page is answered with 200."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /productpage HTTP/1.1\r\nHost: bookinfo\r\nConnection: close\r\n\r\n")
        status = await reader.readline()
        writer.close()
    except OSError:
        return False
    return status.split()[1:2] == [b"200"]


async def apply(cluster: Cluster, *files: Path) -> None:
    for file in files:
        documents = [document for document in yaml.safe_load_all(file.read_text()) if document]
        await cluster.create([_in_default(document) for document in documents])


def _in_default(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "metadata": {"namespace": "default", **document["metadata"]}}


async def read_dump(cluster: Cluster, pod: str, container: str) -> list[dict[str, Any]]:
    """The route configurations of a pod's Envoy."""
    output = bytearray()
    await run_in_pod(
        cluster.client, "default", pod, _DUMP, container=container, on_stdout=output.extend, on_stderr=lambda _: None
    )
    found: list[dict[str, Any]] = json.loads(output).get("configs", [])
    return found


def find_update(dump: list[dict[str, Any]], weight: int) -> float | None:
    """When Envoy took the routes of port 9080, if they have that weight."""
    for config in dump:
        if config["route_config"]["name"] == "9080" and f'"weight": {weight}' in json.dumps(config):
            return datetime.fromisoformat(config["last_updated"]).timestamp()
    return None


async def measure_change(cluster: Cluster, pods: dict[str, str], weight: int) -> float:
    """Milliseconds from the API server's answer to the last Envoy."""
    parts = [("v1", weight), ("v2", 100 - weight)]
    route = [{"destination": {"host": "reviews", "subset": name}, "weight": part} for name, part in parts]
    kind = find_kind("virtualservices")
    await cluster.client.patch(kind, "default", "reviews", {"spec": {"http": [{"route": route}]}})
    accepted = time.time()
    updates: list[float] = []

    async def has_reached_all() -> bool:
        dumps = await asyncio.gather(*(read_dump(cluster, pod, container) for pod, container in pods.items()))
        found = [find_update(dump, weight) for dump in dumps]
        updates[:] = [each for each in found if each is not None]
        return len(updates) == len(pods)

    await asyncio.sleep(0.3)
    await until(has_reached_all, what="the change is in every Envoy", deadline_seconds=20)
    return (max(updates) - accepted) * 1000


async def run(changes: int, samples: Path) -> None:
    bookinfo, started = samples / "bookinfo", time.perf_counter()
    async with running_cluster(Stopwatch()) as cluster:
        namespaces, pods = find_kind("namespaces"), find_kind("pods")
        await cluster.client.patch(namespaces, "", "default", {"metadata": {"labels": {"istio-injection": "enabled"}}})
        await apply(cluster, bookinfo / "platform/kube/bookinfo.yaml", bookinfo / "networking/bookinfo-gateway.yaml")
        port = await find_page_port(cluster)
        await until(lambda: is_served(port), what="the page is served", deadline_seconds=60)
        report("up with Bookinfo to the first 200 through the gateway", time.perf_counter() - started, "s", goal=12.0)

        async def are_ready() -> bool:
            return all(is_ready(pod) for pod in (await cluster.client.list(pods)).items)

        await until(are_ready, what="every pod is ready", deadline_seconds=60)
        networking = bookinfo / "networking"
        await apply(
            cluster, networking / "destination-rule-all.yaml", networking / "virtual-service-reviews-90-10.yaml"
        )
        await asyncio.sleep(_SETTLE_SECONDS)
        total = report_memory("Bookinfo", sum_by_role(cluster.pid))
        report("Bookinfo, idle: cluster, control plane, 6 pods, gateway", total, "MB PSS", goal=500.0)
        found = (await cluster.client.list(pods, "default")).items
        containers = {pod["metadata"]["name"]: pod["spec"]["containers"][0]["name"] for pod in found}
        times = [await measure_change(cluster, containers, 20 + number) for number in range(changes)]
        report_median("a VirtualService of Bookinfo, accepted to active in all Envoys", times, "ms", goal=50.0)


def main() -> None:
    changes = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    asyncio.run(run(changes, Path(sys.argv[2]) if len(sys.argv) > 2 else _SAMPLES))


if __name__ == "__main__":
    main()
