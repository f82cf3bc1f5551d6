from lateen.xds.index import SubscriptionIndex
from lateen.xds.resources import CLUSTER, ENDPOINT, ROUTE


class Stream:
    def __init__(self) -> None:
        self.marks: list[tuple[str, str | None]] = []

    def mark(self, type_url: str, name: str | None) -> None:
        self.marks.append((type_url, name))


def mark(index: SubscriptionIndex, *calls: str) -> int:
    return sum(index.mark(set(calls)))


def test_only_streams_that_show_a_dirty_call_are_marked() -> None:
    index, one, other = SubscriptionIndex(), Stream(), Stream()
    index.add("a", ENDPOINT, "a", one)
    index.add("b", ENDPOINT, "b", other)
    assert mark(index, "a", "unknown", "more", "than", "entries") == 1
    assert (one.marks, other.marks) == ([(ENDPOINT, "a")], [])


def test_clusters_are_marked_before_the_routes_that_may_use_them() -> None:
    index, stream = SubscriptionIndex(), Stream()
    index.add("r", ROUTE, "80", stream)
    index.add("e", ENDPOINT, "a", stream)
    index.add("c", CLUSTER, None, stream)
    mark(index, "r", "e", "c")
    assert [type_url for type_url, _ in stream.marks] == [CLUSTER, ENDPOINT, ROUTE]


def test_a_call_that_nobody_shows_is_forgotten() -> None:
    index, one, other = SubscriptionIndex(), Stream(), Stream()
    for stream in (one, other):
        index.add("a", ENDPOINT, "a", stream)
    index.discard("a", one)
    assert index.calls() == ("a",)
    index.discard("a", other)
    index.discard("a", other)
    assert index.calls() == ()
