"""Changed objects into the database and marks, without Kubernetes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from control_plane import REGISTRY, build_service, build_slice

from lateen.api.objects import key_of
from lateen.incremental.database import Database
from lateen.kube.informer import Change, ChangeType
from lateen.mesh.proxy import Proxy
from lateen.pilot.push import Pusher
from lateen.runtime.metrics import Metrics
from lateen.runtime.pace import Pace
from lateen.testing.poll import until
from lateen.translate.generate import find_call
from lateen.xds.index import SubscriptionIndex
from lateen.xds.resources import CLUSTER, ENDPOINT

PROXY = Proxy(id="p", type="sidecar", namespace="default", name="p", addresses=("10.244.0.9",))


def cluster_of(name: str) -> str:
    return f"outbound|80||{name}.default.svc.cluster.local"


class Stream:
    def __init__(self) -> None:
        self.marks: list[tuple[str, str | None]] = []

    def mark(self, type_url: str, name: str | None) -> None:
        self.marks.append((type_url, name))


class Bench:
    def __init__(self) -> None:
        self.db, self.index, self.metrics = Database(), SubscriptionIndex(), Metrics()
        self.pusher = Pusher(self.db, self.index, Pace(), self.metrics)

    def submit(self, *documents: dict[str, Any]) -> None:
        changes = []
        for document in documents:
            kind = REGISTRY.find_document(document)
            assert kind is not None
            changes.append(Change(ChangeType.MODIFIED, kind, key_of(document), None, document))
        self.pusher.submit(changes)

    def show(self, stream: Stream, type_url: str, name: str | None) -> None:
        call = find_call(PROXY, type_url, name)
        self.db.ask(call)
        self.index.add(call, type_url, name, stream)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    running = asyncio.create_task(bench.pusher.run())
    yield bench
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_commit_marks_what_it_may_have_changed_and_nothing_else(bench: Bench) -> None:
    bench.submit(build_service("reviews"), build_service("ratings"))
    await bench.pusher.settled()
    stream = Stream()
    for name in ("reviews", "ratings"):
        bench.show(stream, ENDPOINT, cluster_of(name))
    bench.submit(build_slice("reviews", "10.244.0.7"))
    await bench.pusher.settled()
    assert stream.marks == [(ENDPOINT, cluster_of("reviews"))]


async def test_what_is_submitted_together_is_committed_together(bench: Bench) -> None:
    bench.submit(*(build_service(f"s{number}") for number in range(500)))
    await bench.pusher.settled()
    assert bench.metrics.counter("pilot_commits", "").get() == 1
    assert bench.pusher.revision == 1


async def test_a_storm_is_committed_in_few_batches_that_end_at_the_last_state(bench: Bench) -> None:
    bench.show(Stream(), CLUSTER, None)
    for number in range(200):
        bench.submit(build_slice("reviews", f"10.244.1.{number}"), build_service("reviews"))
        await asyncio.sleep(0)
    await bench.pusher.settled()
    assert bench.metrics.counter("pilot_commits", "").get() <= 20
    found = bench.db.ask(find_call(PROXY, ENDPOINT, cluster_of("reviews")))
    assert b"10.244.1.199" in found.body
    assert b"10.244.1.198" not in found.body


async def test_queries_that_nobody_shows_any_more_are_released(bench: Bench) -> None:
    bench.submit(build_service("reviews"))
    await bench.pusher.settled()
    stream = Stream()
    names = [f"outbound|80||nothing{number}.default.svc.cluster.local" for number in range(3_000)]
    for name in names:
        bench.show(stream, ENDPOINT, name)
    bench.submit(build_slice("reviews", "10.244.0.7"))
    await bench.pusher.settled()
    before = bench.db.counts.hits
    for name in names:
        bench.db.ask(find_call(PROXY, ENDPOINT, name))
    assert bench.db.counts.hits == before + 3_000, "still there while they are shown"

    for name in names:
        bench.index.discard(find_call(PROXY, ENDPOINT, name), stream)
    bench.submit(build_slice("reviews", "10.244.0.8"))
    await until(lambda: bench.metrics.counter("pilot_commits", "").get() == 3)
    await bench.pusher.settled()
    recomputed = bench.db.counts.recomputed
    bench.db.ask(find_call(PROXY, ENDPOINT, names[0]))
    assert bench.db.counts.recomputed > recomputed


@pytest.mark.parametrize(
    "broken",
    [
        {"spec": None},
        {"spec": {"ports": "none"}},
        {"spec": {"ports": [{"port": "eighty"}], "selector": ["a"]}},
        {"spec": {"clusterIPs": 5, "ports": [None]}},
    ],
)
async def test_an_object_that_makes_no_sense_stops_nobody(bench: Bench, broken: dict[str, Any]) -> None:
    bench.submit(build_service("odd") | broken, build_service("reviews"))
    await bench.pusher.settled()
    assert cluster_of("reviews") in bench.db.ask(find_call(PROXY, CLUSTER))
