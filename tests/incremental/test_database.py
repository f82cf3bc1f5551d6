"""What a database does with commits, reads, forks, failures and long chains."""

import pytest

from lateen.incremental.cells import Call
from lateen.incremental.database import Database
from lateen.incremental.inputs import Index, Table
from lateen.incremental.query import CycleError, query

Key = tuple[str, str]
SERVICES: Table[Key, int] = Table("services")
LABELS: Table[str, frozenset[str]] = Table("labels")
BY_NAMESPACE: Index[Key, int, str] = Index("by_namespace", SERVICES, lambda key, _value: [key[0]])
BY_LABEL: Index[str, frozenset[str], str] = Index("by_label", LABELS, lambda _key, labels: labels)

COUNT = 1000


@query
def service(db: Database, key: Key) -> tuple[Key, int | None]:
    return (key, db.get(SERVICES, key))


@query
def parity(db: Database, key: Key) -> bool:
    return bool((db.get(SERVICES, key) or 0) % 2)


@query
def cluster(db: Database, key: Key) -> tuple[Key, bool]:
    return (key, parity(db, key))


@query
def clusters(db: Database, namespace: str) -> tuple[tuple[Key, bool], ...]:
    return tuple(cluster(db, key) for key in db.lookup(BY_NAMESPACE, namespace))


@query
def mesh(db: Database) -> int:
    return sum(len(clusters(db, f"ns{number}")) for number in range(10))


@query
def labelled(db: Database, label: str) -> tuple[str, ...]:
    return db.lookup(BY_LABEL, label)


@query
def countdown(db: Database, number: int) -> int:
    return 0 if number == 0 else countdown(db, number - 1) + (db.get(SERVICES, ("step", str(number))) or 1)


@query
def ring(db: Database, place: int, size: int) -> int:
    return ring(db, (place + 1) % size, size)


@query
def guarded(db: Database, place: int, size: int) -> str:
    try:
        return str(ring(db, place, size))
    except CycleError as error:
        return f"a cycle of {len(error.path)}"


@query
def fallible(db: Database, key: Key) -> int:
    value = db.get(SERVICES, key)
    if value is None:
        raise LookupError(key)
    return value


@query
def committing(db: Database) -> None:
    db.commit([(SERVICES, ("a", "b"), 1)])


def build_mesh() -> Database:
    db = Database()
    db.commit((SERVICES, (f"ns{number % 10}", f"s{number}"), 0) for number in range(COUNT))
    assert mesh(db) == COUNT
    return db


def test_one_changed_service_among_a_thousand_recomputes_a_handful() -> None:
    db = build_mesh()
    before = db.counts
    dirty = db.commit([(SERVICES, ("ns1", "s1"), 1)]).dirty
    assert len(dirty) == 4
    mesh(db)
    assert db.counts.recomputed - before.recomputed == 4


def test_an_equal_result_stops_the_wave() -> None:
    db = build_mesh()
    before = db.counts
    db.commit([(SERVICES, ("ns1", "s1"), 2)])
    mesh(db)
    assert db.counts.recomputed - before.recomputed == 1
    assert db.counts.verified - before.verified == 3


def test_an_equal_value_is_no_change() -> None:
    db = build_mesh()
    revision = db.commit([(SERVICES, ("ns1", "s1"), 1)]).revision
    commit = db.commit([(SERVICES, ("ns1", "s1"), 1)])
    assert (commit.revision, commit.dirty) == (revision, frozenset())


def test_the_last_change_of_a_row_in_one_commit_wins() -> None:
    db = Database()
    db.commit([(SERVICES, ("a", "b"), 1), (SERVICES, ("a", "b"), None), (SERVICES, ("a", "b"), 3)])
    assert db.get(SERVICES, ("a", "b")) == 3
    assert db.keys(SERVICES) == (("a", "b"),)


def test_true_is_not_one() -> None:
    db = Database()
    db.commit([(SERVICES, ("a", "b"), 1)])
    assert db.commit([(SERVICES, ("a", "b"), True)]).revision == 2
    assert service(db, ("a", "b"))[1] is True


def test_keys_and_lookups_are_sorted_and_follow_commits() -> None:
    db = Database()
    db.commit([(LABELS, "b", frozenset("xy")), (LABELS, "a", frozenset("x"))])
    assert (db.keys(LABELS), labelled(db, "x"), labelled(db, "y")) == (("a", "b"), ("a", "b"), ("b",))
    dirty = db.commit([(LABELS, "b", frozenset("y"))]).dirty
    assert dirty == {labelled.call("x")}
    assert (labelled(db, "x"), labelled(db, "y")) == (("a",), ("b",))
    db.commit([(LABELS, "b", None)])
    assert (db.keys(LABELS), labelled(db, "y")) == (("a",), ())


def test_a_fork_recomputes_as_much_as_a_commit_and_leaves_the_parent_alone() -> None:
    db = build_mesh()
    before = db.counts
    fork = db.fork([(SERVICES, ("ns1", "new"), 1)])
    assert mesh(fork) == COUNT + 1
    assert db.counts == before
    assert mesh(db) == COUNT
    again = db.counts
    db.commit([(SERVICES, ("ns1", "new"), 1)])
    assert mesh(db) == COUNT + 1
    assert fork.counts.recomputed == db.counts.recomputed - again.recomputed == 4


def test_a_fork_keeps_its_world_while_the_parent_goes_on() -> None:
    db = build_mesh()
    fork = db.fork()
    grandchild = fork.fork([(SERVICES, ("ns1", "s1"), 5)])
    db.commit([(SERVICES, ("ns1", "s1"), 7), (SERVICES, ("ns2", "s2"), None)])
    fork.commit([(SERVICES, ("ns3", "s3"), None)])
    assert (mesh(db), mesh(fork), mesh(grandchild)) == (COUNT - 1, COUNT - 1, COUNT)
    assert [world.get(SERVICES, ("ns1", "s1")) for world in (db, fork, grandchild)] == [7, 0, 5]
    assert len(fork.lookup(BY_NAMESPACE, "ns2")) == 100


def test_a_query_that_raised_is_tried_again_and_leaves_its_reads() -> None:
    db = Database()
    for _ in range(2):
        with pytest.raises(LookupError):
            fallible(db, ("a", "b"))
    assert db.counts.recomputed == 2
    assert db.commit([(SERVICES, ("a", "b"), 4)]).dirty == {fallible.call(("a", "b"))}
    assert fallible(db, ("a", "b")) == 4


def test_chains_longer_than_the_recursion_limit() -> None:
    db = Database()
    assert countdown(db, 5000) == 5000
    assert db.counts.recomputed == 5001
    db.commit([(SERVICES, ("step", "1"), 3)])
    assert countdown(db, 5000) == 5002


@pytest.mark.parametrize("size", [1, 2, 49, 50, 51, 120])
def test_a_cycle_fails_the_same_from_every_entry(size: int) -> None:
    db = Database()
    errors = []
    for place in range(size):
        with pytest.raises(CycleError) as caught:
            ring(db, place, size)
        errors.append(str(caught.value))
    assert len(set(errors)) == 1
    assert [guarded(db, place, size) for place in range(size)] == [f"a cycle of {size}"] * size


def test_why_names_the_rows_that_matter() -> None:
    db = build_mesh()
    db.commit([(SERVICES, ("ns1", "s1"), 1)])
    assert db.why(service.call(("ns1", "s2"))) == frozenset()
    assert db.why(cluster.call(("ns1", "s1"))) == {(SERVICES, ("ns1", "s1"))}
    assert len(db.why(clusters.call("ns1"))) == COUNT / 10


def test_release_forgets_what_no_root_needs_and_the_rest_stays_warm() -> None:
    db = build_mesh()
    db.release([clusters.call("ns1")])
    before = db.counts
    clusters(db, "ns1")
    assert db.counts.recomputed == before.recomputed
    assert db.commit([(SERVICES, ("ns2", "s2"), 1)]).dirty == frozenset()
    mesh(db)
    assert db.counts.recomputed > before.recomputed


def test_release_forgets_rows_that_were_only_looked_for() -> None:
    db = Database()
    for number in range(100):
        service(db, ("none", str(number)))
    db.release([])
    assert sum(1 for _ in db._cells) == 0


def test_a_query_may_not_commit() -> None:
    with pytest.raises(RuntimeError, match="may not commit"):
        committing(Database())


def test_a_call_names_itself() -> None:
    call = service.call(("a", "b"))
    assert isinstance(call, Call)
    assert str(call).endswith("service(('a', 'b'))")
    with pytest.raises(TypeError, match="positional"):
        service.call(key=("a", "b"))
