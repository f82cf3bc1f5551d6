"""A client that does anything the protocol allows, and some things it does not, ends up with the server's state."""

from collections import deque

import hypothesis.strategies as st
from google.protobuf import wrappers_pb2
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lateen.xds.messages import (
    DeltaRequest,
    DeltaResponse,
    decode_delta_request,
    decode_delta_response,
    encode_delta_request,
)
from lateen.xds.protocol import DeltaProtocol, Response
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, ResourceSet, build_resource
from lateen.xds.subscription import WILDCARD, Need

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
WHOLE_TYPES = (CLUSTER, LISTENER)
NAMES = ("a", "b", "c", "d")
BAD = "bad"

types = st.sampled_from(TYPES)
names = st.sampled_from(NAMES)
name_sets = st.sets(st.sampled_from((*NAMES, WILDCARD)), max_size=3)


def build(name: str, content: str) -> Resource:
    return build_resource(wrappers_pb2.StringValue(value=content), name)


class Client:
    """What Envoy keeps across streams: what it wants and what it was given."""

    def __init__(self) -> None:
        self.wanted: dict[str, set[str]] = {}
        self.held: dict[str, dict[str, tuple[str, str]]] = {}  # type -> name -> (version, content)

    def hello(self, type_url: str) -> DeltaRequest:
        versions = {name: version for name, (version, _) in self.held.setdefault(type_url, {}).items()}
        subscribe = self.wanted.setdefault(type_url, {WILDCARD})
        return DeltaRequest(type_url, () if subscribe == {WILDCARD} else tuple(subscribe), versions=versions)

    def take(self, response: DeltaResponse) -> DeltaRequest:
        """Apply a response as Envoy does, and answer it."""
        held = self.held[response.type_url]
        contents = {
            name: (version, wrappers_pb2.StringValue.FromString(value).value)
            for name, (version, value) in response.resources.items()
        }
        wanted = {n: c for n, c in contents.items() if self.wants(response.type_url, n)}
        bad = [name for name, (_, content) in wanted.items() if content.startswith(BAD)]
        for name, (version, content) in wanted.items():
            if name in bad or (bad and response.type_url not in WHOLE_TYPES):
                previous = held.get(name, ("", ""))[1]
                held[name] = (version, previous)  # Envoy notes the version of what it refuses, too
            else:
                held[name] = (version, content)
        for name in response.removed:
            held.pop(name, None)
        error = "refused" if bad else None
        return DeltaRequest(response.type_url, nonce=response.nonce, error=error)

    def wants(self, type_url: str, name: str) -> bool:
        return not self.wanted[type_url].isdisjoint({name, WILDCARD})

    def change(self, type_url: str, subscribe: set[str], unsubscribe: set[str]) -> DeltaRequest:
        self.wanted[type_url] -= unsubscribe
        self.wanted[type_url] |= subscribe
        held = self.held[type_url]
        for name in list(held):
            if not self.wants(type_url, name) or name in subscribe | unsubscribe:
                del held[name]
        return DeltaRequest(type_url, tuple(subscribe), tuple(unsubscribe))


class Convergence(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.world: dict[str, dict[str, str]] = {type_url: {} for type_url in TYPES}
        self.client = Client()
        self.streams = 0
        self.now = 0.0
        self.connect()

    def connect(self) -> None:
        self.streams += 1
        self.protocol = DeltaProtocol(nonce_prefix=f"{self.streams}-")
        self.to_server: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        self.last_responses: list[Response] = []
        self.opened: set[str] = set()

    def send(self, request: DeltaRequest) -> None:
        self.to_server.append(encode_delta_request(request))

    @rule(type_url=types)
    def open_type(self, type_url: str) -> None:
        if type_url not in self.opened:
            self.opened.add(type_url)
            self.send(self.client.hello(type_url))

    @rule(type_url=types, subscribe=name_sets, unsubscribe=name_sets)
    def change_names(self, type_url: str, subscribe: set[str], unsubscribe: set[str]) -> None:
        if type_url in self.opened and (subscribe or unsubscribe):
            self.send(self.client.change(type_url, subscribe, unsubscribe - subscribe))

    @rule(type_url=types, nonce=st.sampled_from(["1-1", "2-1", "old"]), refuse=st.booleans())
    def speak_of_the_past(self, type_url: str, nonce: str, refuse: bool) -> None:
        spoken_for = any(decode_delta_response(data).nonce == nonce for data in self.to_client)
        if type_url in self.opened and not spoken_for and not nonce.startswith(f"{self.streams}-"):
            self.send(DeltaRequest(type_url, nonce=nonce, error="late" if refuse else None))

    @rule(type_url=types, name=names, content=st.sampled_from(["1", "2", "3", BAD + "1", BAD + "2", None]))
    def change_the_world(self, type_url: str, name: str, content: str | None) -> None:
        if content is None:
            self.world[type_url].pop(name, None)
        else:
            self.world[type_url][name] = content
        self.protocol.mark(type_url, None)
        self.protocol.mark(type_url, name)

    @rule()
    def server_reads(self) -> None:
        if self.to_server:
            self.protocol.receive(decode_delta_request(self.to_server.popleft()))

    @rule()
    def server_acts(self) -> None:
        self.act()

    def act(self) -> bool:
        step = self.protocol.next_step(self.now)
        if isinstance(step, Need):
            content = self.world[step.type_url]
            whole = ResourceSet(build(name, value) for name, value in content.items())
            found = {name: whole.get(name) for name in step.names}
            answer = self.protocol.answer(step, whole, found, self.now)
            if answer is not None:
                self.to_client.append(answer.encode())
            return True
        if step is not None:
            self.to_client.append(step.encode())
        return step is not None

    @rule()
    def client_reads(self) -> None:
        if self.to_client:
            self.send(self.client.take(decode_delta_response(self.to_client.popleft())))

    @rule()
    def time_passes(self) -> None:
        self.now += 0.7

    @precondition(lambda self: self.streams < 4)
    @rule()
    def reconnect(self) -> None:
        opened = self.opened
        self.connect()
        for type_url in sorted(opened):
            self.open_type(type_url)

    @invariant()
    def no_response_names_a_resource_twice(self) -> None:
        for data in getattr(self, "to_client", ()):
            response = decode_delta_response(data)
            assert response.resources.keys().isdisjoint(response.removed)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for _ in range(1_000):
            self.server_reads()
            acted = self.act()
            self.client_reads()
            if not (acted or self.to_server or self.to_client):
                break
        else:
            raise AssertionError("server and client answer each other for ever")
        for type_url in self.opened:
            self.check(type_url)

    def check(self, type_url: str) -> None:
        held = {name: value for name, value in self.client.held[type_url].items() if value[0]}
        expected = {n: c for n, c in self.world[type_url].items() if self.client.wants(type_url, n)}
        assert held.keys() == expected.keys()
        for name, content in expected.items():
            version, used = held[name]
            assert version == build(name, content).version
            if not content.startswith(BAD):
                assert used == content, f"{name} was refused or lost, and never sent again"


TestConvergence = Convergence.TestCase
TestConvergence.settings = settings(deadline=None)
