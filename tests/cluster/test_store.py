import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lateen.base.errors import ConflictError, UnavailableError
from lateen.cluster.revisions import Key
from lateen.cluster.store import CompactedError, Store, WrongVersionError


def document(name: str, **data: Any) -> dict[str, Any]:
    return {
        "data": data,
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "apiVersion": "v1",
    }


def key(name: str, resource: str = "configmaps") -> Key:
    return Key(resource, "default", name)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "cluster.db")
    store.start()
    yield store
    store.close()


def reopen(store: Store, path: Path) -> Store:
    store.close()
    again = Store(path / "cluster.db")
    again.start()
    return again


async def test_a_stored_document_comes_back_with_its_version_and_its_identity_first(store: Store) -> None:
    revision = await store.put(key("a"), document("a", x=1), expected=None)
    assert store.get(key("a")) is revision
    assert revision.body.startswith(b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{')
    assert revision.document()["metadata"]["resourceVersion"] == str(revision.version) == str(store.version)
    assert revision.labels == {"app": "a"}


async def test_of_two_concurrent_writers_of_one_version_one_is_refused(store: Store) -> None:
    first = await store.put(key("a"), document("a"), expected=None)
    results = await asyncio.gather(
        *(store.put(key("a"), document("a", x=n), expected=first.version) for n in range(2)),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == ["Revision", "WrongVersionError"]
    with pytest.raises(WrongVersionError):
        await store.put(key("a"), document("a"), expected=None)


async def test_readers_do_not_see_what_is_not_yet_durable(store: Store) -> None:
    writing = asyncio.ensure_future(store.put(key("a"), document("a"), expected=None))
    await asyncio.sleep(0)
    latest = store.latest(key("a"))
    assert latest is not None
    if not writing.done():
        assert store.get(key("a")) is None
        assert store.version < latest.version
    assert store.get(key("a")) is not None or not (await writing).deleted


async def test_versions_states_and_history_go_on_after_a_restart(store: Store, tmp_path: Path) -> None:
    first = await store.put(key("a"), document("a"), expected=None)
    second = await store.put(key("a"), document("a", x=1), expected=first.version)
    await store.put(key("b"), document("b"), expected=None)
    await store.delete(key("a"), document("a", x=1), expected=second.version)
    before = [(e.type, e.revision.version, e.revision.body) for e in store.changes("configmaps", 0)]
    again = reopen(store, tmp_path)
    assert [(e.type, e.revision.version, e.revision.body) for e in again.changes("configmaps", 0)] == before
    assert [event[0] for event in before] == ["ADDED", "MODIFIED", "ADDED", "DELETED"]
    assert [revision.key.name for revision in again.list_objects("configmaps")] == ["b"]
    assert (await again.put(key("a"), document("a"), expected=None)).version > before[-1][1]
    again.close()


async def test_compaction_forgets_history_but_no_object(store: Store, tmp_path: Path) -> None:
    for name in "abc":
        revision = await store.put(key(name), document(name), expected=None)
        revision = await store.put(key(name), document(name, x=1), expected=revision.version)
        if name == "b":
            await store.delete(key(name), document(name), expected=revision.version)
    mark = store.version - 1
    store.compact(mark)
    again = reopen(store, tmp_path)
    assert [revision.key.name for revision in again.list_objects("configmaps")] == ["a", "c"]
    with pytest.raises(CompactedError, match=f"too old resource version: {mark - 1} \\({mark}\\)"):
        again.changes("configmaps", mark - 1)
    (event,) = again.changes("configmaps", mark)
    assert event.type == "MODIFIED"
    assert event.previous is not None
    again.close()
    rows = sqlite3.connect(tmp_path / "cluster.db")
    assert rows.execute("SELECT count(*) FROM revisions").fetchone() == (3,)
    rows.close()


async def test_history_stays_within_its_bounds(tmp_path: Path) -> None:
    store = Store(tmp_path / "cluster.db", history_events=20)
    store.start()
    version = None
    for number in range(100):
        version = (await store.put(key("a"), document("a", x=number), expected=version)).version
    assert 20 <= len(store.changes("configmaps", store.compacted)) <= 26
    store.close()


async def test_a_watch_wakes_for_its_own_resource_only(store: Store) -> None:
    watch, other = store.watch("configmaps", store.version), store.watch("secrets", store.version)
    waiting = [asyncio.ensure_future(w.wait(0.2)) for w in (watch, other)]
    await asyncio.sleep(0)
    await store.put(key("a"), document("a"), expected=None)
    assert await asyncio.gather(*waiting) == [True, False]
    assert [event.revision.key.name for event in watch.take()] == ["a"]
    assert watch.take() == other.take() == []


async def test_compaction_does_not_end_a_watch_that_missed_nothing(store: Store) -> None:
    idle, behind = store.watch("secrets", 0), store.watch("configmaps", 0)
    await store.put(key("a"), document("a"), expected=None)
    store.compact(store.version)
    assert idle.take() == []
    with pytest.raises(CompactedError):
        behind.take()


async def test_a_second_process_cannot_open_the_same_file(store: Store, tmp_path: Path) -> None:
    await store.put(key("a"), document("a"), expected=None)
    with pytest.raises(ConflictError, match="in use"):
        Store(tmp_path / "cluster.db")


def test_a_file_that_is_no_database_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "cluster.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(UnavailableError, match="move it away"):
        Store(tmp_path / "cluster.db")


async def test_a_failed_commit_fails_every_write_that_builds_on_it_and_later_writes_work(
    store: Store, tmp_path: Path
) -> None:
    await store.put(key("a"), document("a"), expected=None)
    store._journal._connection.execute("PRAGMA query_only = ON")
    lost = asyncio.ensure_future(store.put(key("b"), document("b"), expected=None))
    await asyncio.sleep(0)
    latest = store.latest(key("b"))
    assert latest is not None
    built = asyncio.ensure_future(store.put(key("b"), document("b", x=1), expected=latest.version))
    results = await asyncio.gather(lost, built, return_exceptions=True)
    assert [type(result) for result in results] == [UnavailableError, UnavailableError]
    assert store.latest(key("b")) is None
    store._journal._connection.execute("PRAGMA query_only = OFF")
    await store.put(key("b"), document("b"), expected=None)
    assert [revision.key.name for revision in store.list_objects("configmaps")] == ["a", "b"]


async def test_five_watchers_that_reconnect_at_random_see_one_sequence(store: Store) -> None:
    writes = 2_000
    sequences: list[list[tuple[str, int]]] = [[] for _ in range(5)]

    async def follow(sequence: list[tuple[str, int]], chance: random.Random) -> None:
        since = 0
        while len(sequence) < writes:
            watch = store.watch("configmaps", since)
            for _ in range(chance.randrange(1, 50)):
                await watch.wait(1)
                sequence += [(event.type, event.revision.version) for event in watch.take()]
                if len(sequence) >= writes:
                    break
            since = watch.version
            watch.close()
            await asyncio.sleep(chance.random() / 100)

    async def write(worker: int, chance: random.Random) -> None:
        held: dict[str, int] = {}
        for _ in range(writes // 4):
            name = f"{worker}-{chance.randrange(20)}"
            if name in held and chance.random() < 0.3:
                await store.delete(key(name), document(name), expected=held.pop(name))
            else:
                revision = await store.put(key(name), document(name, x=1), expected=held.get(name))
                held[name] = revision.version

    await asyncio.gather(
        *(write(worker, random.Random(worker)) for worker in range(4)),
        *(follow(sequence, random.Random(-number)) for number, sequence in enumerate(sequences, 1)),
    )
    assert all(sequence == sequences[0] for sequence in sequences)
    assert [version for _, version in sequences[0]] == list(range(1, writes + 1))
