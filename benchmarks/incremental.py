"""What the incremental engine costs: `.venv/bin/python benchmarks/incremental.py [services]`.

A mesh of services with one endpoint slice each; per service a cluster, per port a route configuration of all its
hosts, and X"""

import sys
import time
import tracemalloc
from collections.abc import Callable

from figures import report
from lateen.incremental.database import Database
from lateen.incremental.inputs import Index, Table
from lateen.incremental.query import query

Key = tuple[str, str]
SERVICES: Table[Key, tuple[int, str]] = Table("services")
SLICES: Table[Key, tuple[str, ...]] = Table("slices")
BY_PORT: Index[Key, tuple[int, str], int] = Index("by_port", SERVICES, lambda _key, service: [service[0]])


@query
def endpoints(db: Database, key: Key) -> tuple[str, ...]:
    return db.get(SLICES, key) or ()


@query
def cluster(db: Database, key: Key) -> tuple[Key, str] | None:
    service = db.get(SERVICES, key)
    return None if service is None else (key, service[1])


@query
def virtual_host(db: Database, key: Key) -> tuple[str, tuple[Key, str] | None]:
    return (f"{key[1]}.{key[0]}.svc.cluster.local", cluster(db, key))


@query
def routes(db: Database, port: int) -> tuple[object, ...]:
    return tuple(virtual_host(db, key) for key in db.lookup(BY_PORT, port))


@query
def clusters(db: Database) -> tuple[object, ...]:
    return tuple(cluster(db, key) for key in db.keys(SERVICES))


def ask_all(db: Database, keys: list[Key]) -> None:
    clusters(db)
    for port in range(8000, 8010):
        routes(db, port)
    for key in keys:
        endpoints(db, key)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    keys = [(f"ns{number % 10}", f"service-{number}") for number in range(count)]
    services = [(SERVICES, key, (8000 + place % 10, "HTTP1")) for place, key in enumerate(keys)]
    slices = [(SLICES, key, ("10.0.0.1",)) for key in keys]
    db, cold_seconds = Database(), 0.0

    def measure(name: str, work: Callable[[], Database]) -> float:
        before, started = db.counts, time.perf_counter()
        world = work()
        ask_all(world, keys)
        seconds = time.perf_counter() - started
        own = world is db
        done = [after - (then if own else 0) for after, then in zip(world.counts, before, strict=True)]
        counted = f" recomputed {done[0]}, verified {done[1]}, hits {done[2]}, {seconds * 1000:.2f} ms"
        share = seconds / cold_seconds * 100 if cold_seconds else 100.0
        report(f"{count} plain rows: {name}", share, "% of cold", note=counted)
        return seconds

    def commit(*changes: tuple[Table[Key, tuple[int, str]], Key, tuple[int, str] | None]) -> Callable[[], Database]:
        def work() -> Database:
            db.commit(changes)
            return db

        return work

    tracemalloc.start()
    db.commit([*services, *slices])
    rows_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    cold_seconds = measure("cold start", lambda: db)
    measure("nothing changed", lambda: db)
    measure("one service changed", commit((SERVICES, keys[7], (8007, "GRPC"))))
    measure("one service changed back", commit((SERVICES, keys[7], (8007, "HTTP1"))))
    measure("one service moved to another port", commit((SERVICES, keys[7], (8001, "HTTP1"))))
    measure("one service deleted", commit((SERVICES, keys[7], None)))
    measure("fork with one service changed", lambda: db.fork([(SERVICES, keys[8], (8008, "GRPC"))]))
    started = time.perf_counter()
    rows = db.why(virtual_host.call(keys[9]))
    report(f"why one virtual host: {len(rows)} row", (time.perf_counter() - started) * 1000, "ms")
    started = time.perf_counter()
    db.release([clusters.call()])
    report("release all but the clusters", (time.perf_counter() - started) * 1000, "ms")
    report("memory of a row, its value included", round(rows_bytes / len(keys) / 2), "bytes")


if __name__ == "__main__":
    main()
