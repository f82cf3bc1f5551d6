"""The delta xDS protocol of one stream as a pure state machine: no I/O, no clock, no database.

Flow: `receive(request) -> events` and `mark(type, name)` say what the client wants and what may have changed;
`next_step(now)` says what to do: look something up (`Need`, then `answer`) or send a `Response`.

Order, so that a proxy never uses what it does not have (make before break): clusters, endpoints, listeners,
routes, the rest; listeners and routes wait for the acknowledgement of clusters, which Envoy withholds until
they are warm; when nothing is left to add, removals go in reverse. One response of a type is under way at a
time, so a slow proxy gets the latest state, not every state between. Neither wait outlasts
`PATIENCE_SECONDS`: a cluster that cannot warm must not block another's change.

A cluster that Envoy is given again warms again and needs its endpoints again, but Envoy, being subscribed to
them, does not ask: the endpoints of every cluster in a response follow it, changed or not.

A nonce that names no response under way is stale: the request acknowledges nothing and triggers nothing.
Its subscriptions count, since a delta client says each change once. A refusal is remembered with the client's
words until the resource changes; what else was in the response is sent again without the suspects.
Source: Envoy's xDS protocol page; service/discovery/v3/discovery.proto. Istio ignores subscriptions on a
stale nonce, sends without regard to what is under way and waits for nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lateen.xds.events import Acknowledged, Event, Refused, Stale, Subscribed, Unsubscribed
from lateen.xds.flight import Flight, Sent, find_suspects
from lateen.xds.messages import DeltaRequest, MalformedRequest, encode_delta_response
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, ResourceSet
from lateen.xds.subscription import WILDCARD, Draft, Need, Subscription

ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
_AFTER_CLUSTERS = frozenset({LISTENER, ROUTE})
_APPLIED_ONE_BY_ONE = frozenset({CLUSTER, LISTENER})
"""Types of which Envoy uses the good ones of a response, if its refusal names the bad ones."""

# Bounds for one stream: what a mesh of 10,000 services needs, and no more than a few megabytes.
MAX_NAMES = 30_000
MAX_NAME_LENGTH = 2_048
MAX_TYPES = 32
_MAX_MESSAGE_LENGTH = 4_096


class ProtocolViolation(MalformedRequest):
    """A request beyond the bounds of what any proxy sends."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version of a resource that the client refused, and its words."""

    version: str
    message: str


@dataclass(frozen=True, slots=True)
class Response:
    """A response to send."""

    type_url: str
    nonce: str
    payload: bytes = field(repr=False)
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The DeltaDiscoveryResponse in wire format."""
        return encode_delta_response(self.type_url, self.nonce, self.payload, self.removed)


class DeltaProtocol:
    """The state of one delta stream: what the client wants, has, was sent and refused, by type URL."""

    def __init__(self, *, nonce_prefix: str = "") -> None:
        """Start a stream; `nonce_prefix` tells its nonces from those of streams before it."""
        self.subscriptions: dict[str, Subscription] = {}
        self.flights: dict[str, Flight] = {}
        self.refusals: dict[str, dict[str, Refusal]] = {}  # type URL -> resource name -> refusal
        self._warming: set[str] = set()  # clusters sent before the client subscribed to endpoints
        self._nonce_prefix = nonce_prefix
        self._nonce_count = 0

    def receive(self, request: DeltaRequest) -> tuple[Event, ...]:
        """Take a request; the events come in the order in which they count. Raises ProtocolViolation."""
        _check_bounds(request)
        events: list[Event] = []
        if request.nonce or request.error is not None:
            events.append(self._settle(request))
        subscription = self.subscriptions.get(request.type_url)
        if subscription is None:
            if len(self.subscriptions) >= MAX_TYPES:
                raise ProtocolViolation(f"more than {MAX_TYPES} types on one stream")
            subscription = Subscription(request.type_url, request.subscribe, request.unsubscribe, request.versions)
            self._add(subscription)
            if request.type_url == ENDPOINT:
                subscription.ask(self._warming)
                self._warming.clear()
            events.append(Subscribed(request.type_url, tuple(sorted(subscription.names)), subscription.wildcard))
        elif request.subscribe or request.unsubscribe:
            subscription.change(request.subscribe, request.unsubscribe)
            events.extend(_changes(request))
        if len(subscription.names) > MAX_NAMES:
            raise ProtocolViolation(f"more than {MAX_NAMES} names of {request.type_url}")
        return tuple(events)

    def mark(self, type_url: str, name: str | None) -> None:
        """Look again at a name, or with None at a whole type: it may have changed."""
        subscription = self.subscriptions.get(type_url)
        if subscription is not None:
            subscription.mark(name)

    def next_step(self, now: float) -> Need | Response | None:
        """What to do next: look something up and pass it to `answer`, send a response, or (None) wait."""
        if self._find_blocked(now):
            unblocked = [s for s in self.subscriptions.values() if s.is_due and not self._is_blocked(s, now)]
            return unblocked[0].take_need() if unblocked else None
        for subscription in self.subscriptions.values():
            if subscription.is_due:
                return subscription.take_need()
        for subscription in reversed(self.subscriptions.values()):
            if subscription.has_removals:
                if self.flights[subscription.type_url].is_waiting(now):
                    return None
                return self._respond(subscription.type_url, Draft((), b"", subscription.take_removals()), now)
        return None

    def answer(
        self, need: Need, whole: ResourceSet | None, found: dict[str, Resource | None], now: float
    ) -> Response | None:
        """The response to a need, if one is due; `whole` and `found` as `Subscription.answer` takes them."""
        subscription = self.subscriptions[need.type_url]
        if self._is_blocked(subscription, now):
            subscription.put_back(need)
            return None
        draft = subscription.answer(need, whole, found)
        return None if draft is None else self._respond(need.type_url, draft, now)

    def next_deadline(self, now: float) -> float | None:
        """When `next_step` has to be asked again although nothing happens; None if it need not."""
        if not any(s.is_due or s.has_removals for s in self.subscriptions.values()):
            return None
        deadlines = [flight.deadline for flight in self.flights.values()]
        return min((d for d in deadlines if d is not None and d > now), default=None)

    def _add(self, subscription: Subscription) -> None:
        self.subscriptions[subscription.type_url] = subscription
        self.flights[subscription.type_url] = Flight()
        rank: dict[str, int] = {type_url: position for position, type_url in enumerate(ORDER)}
        ordered = sorted(self.subscriptions.items(), key=lambda item: rank.get(item[0], len(ORDER)))
        self.subscriptions = dict(ordered)

    def _settle(self, request: DeltaRequest) -> Event:
        type_url = request.type_url
        flight = self.flights.get(type_url)
        sent = flight.settle(request.nonce) if flight is not None else None
        if flight is None or sent is None:
            return Stale(type_url, request.nonce)
        if request.error is not None:
            return self._refuse(sent, request.error[:_MAX_MESSAGE_LENGTH], type_url)
        flight.acknowledged_nonce = request.nonce
        self._forget_refusals(type_url, (resource.name for resource in sent.resources))
        return Acknowledged(type_url, request.nonce)

    def _refuse(self, sent: Sent, message: str, type_url: str) -> Refused:
        suspects = find_suspects(sent, message)
        refusals = self.refusals.setdefault(type_url, {})
        refusals.update({name: Refusal(version, message) for name, version in suspects.items()})
        if type_url not in _APPLIED_ONE_BY_ONE or len(suspects) == len(sent.resources):
            self.subscriptions[type_url].isolate([resource.name for resource in sent.resources], suspects)
        return Refused(type_url, sent.nonce, message, suspects)

    def _forget_refusals(self, type_url: str, names: Iterable[str]) -> None:
        refusals = self.refusals.get(type_url)
        if refusals:
            for name in names:
                refusals.pop(name, None)

    def _is_blocked(self, subscription: Subscription, now: float) -> bool:
        if self.flights[subscription.type_url].is_waiting(now):
            return True
        clusters = self.subscriptions.get(CLUSTER)
        if clusters is None or subscription.type_url not in _AFTER_CLUSTERS:
            return False
        return clusters.is_due or self.flights[CLUSTER].is_waiting(now)

    def _find_blocked(self, now: float) -> bool:
        return any(s.is_due and self._is_blocked(s, now) for s in self.subscriptions.values())

    def _respond(self, type_url: str, draft: Draft, now: float) -> Response:
        self._nonce_count += 1
        nonce = f"{self._nonce_prefix}{self._nonce_count:x}"
        self.flights[type_url].send(nonce, draft.resources, now)
        self._forget_refusals(type_url, draft.removed)
        if type_url == CLUSTER:
            self._warm(resource.name for resource in draft.resources)
        return Response(type_url, nonce, draft.payload, draft.resources, draft.removed)

    def _warm(self, clusters: Iterable[str]) -> None:
        endpoints = self.subscriptions.get(ENDPOINT)
        if endpoints is None:
            self._warming.update(clusters)
        else:
            endpoints.ask(clusters)


def _changes(request: DeltaRequest) -> list[Event]:
    removed = tuple(name for name in request.unsubscribe if name != WILDCARD)
    added = tuple(name for name in request.subscribe if name != WILDCARD)
    events: list[Event] = []
    if request.unsubscribe:
        events.append(Unsubscribed(request.type_url, removed, WILDCARD in request.unsubscribe))
    if request.subscribe:
        events.append(Subscribed(request.type_url, added, WILDCARD in request.subscribe))
    return events


def _check_bounds(request: DeltaRequest) -> None:
    if not request.type_url or len(request.type_url) > MAX_NAME_LENGTH:
        raise ProtocolViolation("a request without a usable type URL")
    if max(len(request.subscribe), len(request.unsubscribe), len(request.versions)) > MAX_NAMES:
        raise ProtocolViolation(f"more than {MAX_NAMES} names in one request")
    if any(len(name) > MAX_NAME_LENGTH for name in request.subscribe):
        raise ProtocolViolation(f"a resource name longer than {MAX_NAME_LENGTH} characters")
