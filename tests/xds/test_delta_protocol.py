"""The rules of delta xDS, one by one; times are plain numbers."""

from collections.abc import Mapping

import pytest
from google.protobuf import wrappers_pb2

from lateen.xds.events import Acknowledged, Event, Refused, Stale, Subscribed, Unsubscribed
from lateen.xds.flight import PATIENCE_SECONDS
from lateen.xds.messages import DeltaRequest
from lateen.xds.protocol import MAX_NAMES, DeltaProtocol, ProtocolViolation, Response
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, ResourceSet, build_resource
from lateen.xds.subscription import Need


def resource(name: str, value: str = "1") -> Resource:
    return build_resource(wrappers_pb2.StringValue(value=value), name)


class Server:
    """A protocol with a world behind it: type -> name -> content."""

    def __init__(self, world: Mapping[str, Mapping[str, str]]) -> None:
        self.world = {type_url: dict(resources) for type_url, resources in world.items()}
        self.protocol = DeltaProtocol()
        self.now = 0.0

    def set(self, type_url: str, name: str, content: str | None) -> None:
        resources = self.world.setdefault(type_url, {})
        if content is None:
            resources.pop(name, None)
        else:
            resources[name] = content
        self.protocol.mark(type_url, None)
        self.protocol.mark(type_url, name)

    def request(self, type_url: str, *subscribe: str, **fields: object) -> tuple[Event, ...]:
        return self.protocol.receive(DeltaRequest(type_url, subscribe, **fields))  # type: ignore[arg-type]

    def step(self) -> Response | None:
        while (step := self.protocol.next_step(self.now)) is not None:
            if isinstance(step, Need):
                content = self.world.get(step.type_url, {})
                whole = ResourceSet(resource(name, value) for name, value in content.items())
                found = {name: whole.get(name) for name in step.names}
                step = self.protocol.answer(step, whole, found, self.now)
            if step is not None:
                return step
        return None

    def sent(self) -> list[str]:
        """Everything that goes out now, as `CDS +a -b` lines."""
        return [describe(response) for response in self.responses()]

    def responses(self) -> list[Response]:
        return list(iter(self.step, None))

    def acknowledge(self, response: Response) -> tuple[Event, ...]:
        return self.request(response.type_url, nonce=response.nonce)

    def settle(self) -> list[str]:
        """Everything that goes out to a client that acknowledges."""
        lines = []
        while (response := self.step()) is not None:
            lines.append(describe(response))
            self.acknowledge(response)
        return lines


SHORT = {CLUSTER: "CDS", ENDPOINT: "EDS", LISTENER: "LDS", ROUTE: "RDS"}


def describe(response: Response) -> str:
    names = [f"+{resource.name}" for resource in response.resources]
    return " ".join([SHORT[response.type_url], *names, *(f"-{name}" for name in response.removed)])


def test_a_first_request_without_names_asks_for_everything() -> None:
    server = Server({CLUSTER: {"a": "1", "b": "1"}})
    assert server.request(CLUSTER) == (Subscribed(CLUSTER, (), whole=True),)
    assert server.settle() == ["CDS +a +b"]


def test_an_empty_type_is_answered_empty_so_that_the_proxy_can_start() -> None:
    server = Server({})
    server.request(CLUSTER)
    assert server.settle() == ["CDS"]


def test_only_what_changed_is_sent() -> None:
    server = Server({CLUSTER: {"a": "1", "b": "1"}})
    server.request(CLUSTER)
    server.settle()
    server.set(CLUSTER, "b", "2")
    assert server.settle() == ["CDS +b"]
    server.set(CLUSTER, "b", "2")
    assert server.settle() == []


def test_a_name_that_does_not_exist_is_answered_at_once_and_sent_when_it_appears() -> None:
    server = Server({ENDPOINT: {"a": "1"}})
    server.request(ENDPOINT, "a", "b")
    assert server.settle() == ["EDS +a -b"]
    server.set(ENDPOINT, "b", "1")
    assert server.settle() == ["EDS +b"]


def test_a_proxy_that_states_its_versions_gets_the_difference_only() -> None:
    server = Server({CLUSTER: {"a": "1", "b": "2", "c": "1"}, ENDPOINT: {"a": "1", "b": "1"}})
    stated = {name: resource(name).version for name in ("a", "b", "gone")}
    server.request(CLUSTER, versions=stated)
    server.request(ENDPOINT, "a", "b", versions={"a": resource("a").version, "b": "other"})
    assert server.settle() == ["CDS +b +c", "EDS +b", "CDS -gone"]


def test_a_proxy_that_has_everything_gets_nothing() -> None:
    world = {CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}, LISTENER: {"l": "1"}, ROUTE: {"r": "1"}}
    server = Server(world)
    for type_url, names in ((CLUSTER, ()), (ENDPOINT, ("a",)), (LISTENER, ()), (ROUTE, ("r",))):
        versions = {name: resource(name).version for name in world[type_url]}
        server.request(type_url, *names, versions=versions)
    assert server.settle() == []


def test_subscribing_again_is_answered_again() -> None:
    server = Server({ENDPOINT: {"a": "1"}})
    server.request(ENDPOINT, "a")
    server.settle()
    server.request(ENDPOINT, "a")
    assert server.settle() == ["EDS +a"]
    server.protocol.receive(DeltaRequest(ENDPOINT, ("a",), ("a",)))
    assert server.settle() == ["EDS +a"]


def test_unsubscribed_names_are_not_sent() -> None:
    server = Server({ENDPOINT: {"a": "1", "b": "1"}})
    server.request(ENDPOINT, "a", "b")
    server.settle()
    assert server.request(ENDPOINT, unsubscribe=("a",)) == (Unsubscribed(ENDPOINT, ("a",)),)
    server.set(ENDPOINT, "a", "2")
    server.set(ENDPOINT, "b", None)
    assert server.settle() == ["EDS -b"]


def test_leaving_a_name_while_everything_is_wanted_says_how_the_whole_stands() -> None:
    server = Server({CLUSTER: {"a": "1", "b": "1"}})
    server.request(CLUSTER, "*", "a", "x")
    assert server.settle() == ["CDS +a +b -x"]
    server.request(CLUSTER, unsubscribe=("a", "x"))
    assert server.settle() == ["CDS +a -x"]


def test_leaving_the_wildcard_keeps_the_names() -> None:
    server = Server({CLUSTER: {"a": "1", "b": "1"}})
    server.request(CLUSTER, "*", "a")
    server.settle()
    assert server.request(CLUSTER, unsubscribe=("*",)) == (Unsubscribed(CLUSTER, (), whole=True),)
    server.set(CLUSTER, "a", "2")
    server.set(CLUSTER, "b", "2")
    assert server.settle() == ["CDS +a"]


class TestNonces:
    def test_a_stale_nonce_triggers_nothing(self) -> None:
        """The regression test for push storms: Envoy and server must not answer each other for ever."""
        server = Server({CLUSTER: {"a": "1"}})
        server.request(CLUSTER)
        (response,) = server.responses()
        assert server.acknowledge(response) == (Acknowledged(CLUSTER, response.nonce),)
        for nonce in (response.nonce, "never-sent"):
            assert server.request(CLUSTER, nonce=nonce) == (Stale(CLUSTER, nonce),)
            assert server.request(CLUSTER, nonce=nonce, error="no") == (Stale(CLUSTER, nonce),)
        assert server.sent() == []
        assert server.protocol.refusals == {}

    def test_an_acknowledgement_triggers_nothing(self) -> None:
        server = Server({CLUSTER: {"a": "1"}})
        server.request(CLUSTER)
        (response,) = server.responses()
        server.acknowledge(response)
        assert server.sent() == []

    def test_the_subscriptions_of_a_stale_request_count(self) -> None:
        server = Server({ENDPOINT: {"a": "1", "b": "1"}})
        server.request(ENDPOINT, "a")
        server.settle()
        assert server.request(ENDPOINT, "b", nonce="old") == (
            Stale(ENDPOINT, "old"),
            Subscribed(ENDPOINT, ("b",)),
        )
        assert server.settle() == ["EDS +b"]

    def test_nonces_are_those_of_the_stream(self) -> None:
        first, second = DeltaProtocol(nonce_prefix="p-"), DeltaProtocol(nonce_prefix="q-")
        for protocol, prefix in ((first, "p-"), (second, "q-")):
            protocol.receive(DeltaRequest(CLUSTER))
            need = protocol.next_step(0)
            assert isinstance(need, Need)
            response = protocol.answer(need, None, {}, 0)
            assert response is not None
            assert response.nonce.startswith(prefix)


class TestRefusals:
    def test_what_was_refused_is_sent_again_only_when_it_changes(self) -> None:
        server = Server({CLUSTER: {"good": "1", "bad": "1"}})
        server.request(CLUSTER)
        (response,) = server.responses()
        events = server.request(CLUSTER, nonce=response.nonce, error="cluster bad: no such field")
        assert events == (
            Refused(CLUSTER, response.nonce, "cluster bad: no such field", {"bad": response.resources[0].version}),
        )
        assert server.sent() == []
        assert server.protocol.refusals[CLUSTER]["bad"].message == "cluster bad: no such field"

        server.set(CLUSTER, "good", "2")
        assert server.settle() == ["CDS +good"]
        assert "bad" in server.protocol.refusals[CLUSTER]
        server.set(CLUSTER, "bad", "2")
        assert server.settle() == ["CDS +bad"]
        assert server.protocol.refusals[CLUSTER] == {}

    def test_one_bad_route_does_not_keep_the_others_away(self) -> None:
        names = [f"r{number}" for number in range(8)]
        server = Server({ROUTE: dict.fromkeys(names, "1")})
        server.request(ROUTE, *names)
        accepted: set[str] = set()
        sent = 0
        while (response := server.step()) is not None:
            sent += 1
            sent_names = {resource.name for resource in response.resources}
            if "r5" in sent_names:
                server.request(ROUTE, nonce=response.nonce, error="that will not do")
            else:
                accepted |= sent_names
                server.acknowledge(response)
        assert accepted == set(names) - {"r5"}
        assert list(server.protocol.refusals[ROUTE]) == ["r5"]
        assert sent <= 2 * len(names)

    def test_a_route_that_the_refusal_names_goes_alone(self) -> None:
        server = Server({ROUTE: {"r1": "1", "r2": "1", "r3": "1"}})
        server.request(ROUTE, "r1", "r2", "r3")
        (response,) = server.responses()
        server.request(ROUTE, nonce=response.nonce, error="route config r2: empty")
        assert server.settle() == ["RDS +r1 +r3", "RDS +r2"]

    def test_clusters_are_sent_again_apart_if_the_words_name_none(self) -> None:
        server = Server({CLUSTER: {"a1": "1", "b2": "1"}})
        server.request(CLUSTER)
        (response,) = server.responses()
        server.request(CLUSTER, nonce=response.nonce, error="negative duration")
        assert server.settle() == ["CDS +a1", "CDS +b2"]

    def test_a_removed_resource_is_no_longer_refused(self) -> None:
        server = Server({CLUSTER: {"a": "1"}})
        server.request(CLUSTER)
        (response,) = server.responses()
        server.request(CLUSTER, nonce=response.nonce, error="a")
        server.set(CLUSTER, "a", None)
        assert server.settle() == ["CDS -a"]
        assert server.protocol.refusals[CLUSTER] == {}


class TestOrder:
    def all_types(self) -> Server:
        world = {CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}, LISTENER: {"l": "1"}, ROUTE: {"r": "1"}}
        server = Server(world)
        for type_url, names in ((ROUTE, ("r",)), (LISTENER, ()), (ENDPOINT, ("a",)), (CLUSTER, ())):
            server.request(type_url, *names)
        return server

    def test_clusters_then_endpoints_then_listeners_then_routes(self) -> None:
        server = self.all_types()
        assert server.settle() == ["CDS +a", "EDS +a", "LDS +l", "RDS +r"]

    def test_removals_come_last_and_in_reverse(self) -> None:
        server = self.all_types()
        server.settle()
        for type_url, name in ((CLUSTER, "a"), (ENDPOINT, "a"), (LISTENER, "l"), (ROUTE, "r")):
            server.set(type_url, name, None)
        server.set(CLUSTER, "b", "1")
        server.set(LISTENER, "m", "1")
        assert server.settle() == ["CDS +b", "LDS +m", "RDS -r", "LDS -l", "EDS -a", "CDS -a"]

    def test_listeners_and_routes_wait_until_clusters_are_warm(self) -> None:
        server = self.all_types()
        server.settle()
        server.set(ROUTE, "r", "2")
        server.set(ENDPOINT, "a", "2")
        server.set(CLUSTER, "a", "2")
        server.set(CLUSTER, "old", None)
        clusters, endpoints = server.responses()
        assert [describe(clusters), describe(endpoints)] == ["CDS +a", "EDS +a"]
        server.acknowledge(endpoints)
        assert server.sent() == []
        server.acknowledge(clusters)
        assert server.sent() == ["RDS +r"]

    def test_a_cluster_that_never_warms_delays_others_only_so_long(self) -> None:
        server = self.all_types()
        server.settle()
        server.set(CLUSTER, "stuck", "1")
        assert server.sent() == ["CDS +stuck"]
        server.set(ROUTE, "r", "2")
        server.set(CLUSTER, "b", "2")
        assert server.sent() == []
        assert server.protocol.next_deadline(server.now) == PATIENCE_SECONDS
        server.now = PATIENCE_SECONDS
        assert server.sent() == ["CDS +b", "RDS +r"]
        server.set(CLUSTER, "b", "3")
        assert server.sent() == ["CDS +b"], "no second wait for a client that does not answer"

    def test_a_slow_client_gets_the_latest_state_only(self) -> None:
        server = self.all_types()
        server.settle()
        server.set(LISTENER, "l", "2")
        (response,) = server.responses()
        for content in ("3", "4", "5"):
            server.set(LISTENER, "l", content)
            assert server.sent() == []
        server.acknowledge(response)
        (latest,) = server.responses()
        assert latest.resources == (resource("l", "5"),)

    def test_what_reappears_before_its_removal_is_sent_is_not_removed(self) -> None:
        server = self.all_types()
        server.settle()
        server.set(LISTENER, "m", "1")
        (response,) = server.responses()
        server.set(LISTENER, "l", None)
        server.set(LISTENER, "l", "9")
        server.acknowledge(response)
        assert server.settle() == ["LDS +l"]

    def test_a_changed_cluster_is_followed_by_its_endpoints(self) -> None:
        """Envoy warms it anew and waits for them, but is subscribed already and does not ask."""
        server = self.all_types()
        server.settle()
        server.set(CLUSTER, "a", "2")
        server.set(CLUSTER, "unsubscribed", "1")
        assert server.settle() == ["CDS +a +unsubscribed", "EDS +a"]

    def test_so_is_one_that_changed_while_the_proxy_was_away(self) -> None:
        server = Server({CLUSTER: {"a": "2", "b": "1"}, ENDPOINT: {"a": "1", "b": "1"}})
        server.request(CLUSTER, versions={name: resource(name).version for name in ("a", "b")})
        assert server.settle() == ["CDS +a"]
        server.request(ENDPOINT, "a", "b", versions={name: resource(name).version for name in ("a", "b")})
        assert server.settle() == ["EDS +a"]


@pytest.mark.parametrize(
    "request_",
    [
        DeltaRequest(""),
        DeltaRequest(CLUSTER, ("x" * 3_000,)),
        DeltaRequest(CLUSTER, tuple(map(str, range(MAX_NAMES + 1)))),
        DeltaRequest(CLUSTER, versions=dict.fromkeys(map(str, range(MAX_NAMES + 1)), "v")),
    ],
    ids=["no type", "long name", "too many names", "too many versions"],
)
def test_requests_out_of_bounds_end_the_stream(request_: DeltaRequest) -> None:
    with pytest.raises(ProtocolViolation):
        DeltaProtocol().receive(request_)


def test_names_and_types_of_one_stream_are_bounded() -> None:
    protocol = DeltaProtocol()
    with pytest.raises(ProtocolViolation):
        for start in range(0, 2 * MAX_NAMES, 1_000):
            protocol.receive(DeltaRequest(ENDPOINT, tuple(map(str, range(start, start + 1_000)))))
    with pytest.raises(ProtocolViolation):
        for number in range(100):
            protocol.receive(DeltaRequest(f"type{number}"))
