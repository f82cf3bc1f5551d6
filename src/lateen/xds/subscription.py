"""What one stream wants and has of one resource type, without I/O.

Flow: names subscribed and unsubscribed, marks of what may have changed -> `Need` -> resources -> `Draft`.

A type is wanted whole (wildcard), by explicit names, or both. What the client has is, for the wildcard, the
`ResourceSet` it was last brought to (shared by all streams in the same state, so a stream costs a reference),
and for explicit names a version each.

Invariants: a resource goes out if the client asked for it by name, or if its version is not the one the
client has; never twice in one response; what was refused counts as had, so it is not sent again until it
changes. Removals wait for `take_removals`; only "there is no such resource", the answer to a question, does
not. A mark that comes between `take_need` and `answer` leads to another need.
Source: Envoy's xDS protocol page, "subscribing to resources" and "unsubscribing from resources".
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern

from lateen.xds.resources import EMPTY_SET, Difference, Resource, ResourceSet, diff

WILDCARD = "*"
_ABSENT = ""  # the version of what the client was told does not exist


@dataclass(frozen=True, slots=True)
class Need:
    """What must be looked up before the next response of a type can be made; `alone`: sent by itself."""

    type_url: str
    whole: bool = False
    names: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """The content of a response: resources, their concatenated bodies, and names to remove."""

    resources: tuple[Resource, ...]
    payload: bytes = field(repr=False)
    removed: tuple[str, ...] = ()


class Subscription:
    """One resource type of one stream."""

    def __init__(
        self,
        type_url: str,
        subscribe: Iterable[str],
        unsubscribe: Iterable[str],
        versions: Mapping[str, str],
    ) -> None:
        """Take the first request of this type: names, and name -> version of what the client already has.

        A first request without names asks for everything (the legacy wildcard).
        """
        self.type_url = type_url
        self.names: set[str] = set()
        self.wildcard = False
        self._whole_is_due = False
        self._due: dict[str, None] = {}  # explicit names to look up, in the order of asking
        self._asked: set[str] = set()  # of these, the ones to answer whatever the client has
        self._versions: dict[str, str] = {}  # explicit name -> version the client has
        self._stated: Mapping[str, str] | None = versions  # the wildcard's state before its first answer
        self._base: ResourceSet = EMPTY_SET  # the wildcard's state after it
        self._forgotten: set[str] = set()  # names whose wildcard state the client has lost
        self._removals: dict[str, None] = {}
        self._retries: deque[tuple[str, ...]] = deque()  # groups of explicit names, each for its own response

        if not subscribe and not unsubscribe:
            subscribe = (WILDCARD,)
        for name in subscribe:
            self._subscribe(name, stated=versions.get(name))
        if not self.wildcard:
            self._stated = {}

    def change(self, subscribe: Iterable[str], unsubscribe: Iterable[str]) -> None:
        """Take a later request's names; one subscribed again is answered again, as the protocol demands."""
        for name in unsubscribe:
            self._unsubscribe(name)
        for name in subscribe:
            self._subscribe(name, stated=None)

    def mark(self, name: str | None) -> None:
        """Look again at a name, or with None at everything: it may have changed."""
        if name is None:
            self._whole_is_due = self._whole_is_due or self.wildcard
            self._due.update(dict.fromkeys(self.names))
        elif name in self.names:
            self._due[name] = None

    def ask(self, names: Iterable[str]) -> None:
        """Answer those of these names that are subscribed, whatever the client has."""
        wanted = self.names.intersection(names)
        self._asked |= wanted
        self._due.update(dict.fromkeys(sorted(wanted)))

    @property
    def is_due(self) -> bool:
        """Whether something must be looked up."""
        return self._whole_is_due or bool(self._due) or bool(self._retries)

    @property
    def has_removals(self) -> bool:
        """Whether names wait to be removed from the client."""
        return bool(self._removals)

    def take_need(self) -> Need:
        """What to look up now; it is then no longer due."""
        if self._retries:
            names = self._retries.popleft()
            self._asked.update(self.names.intersection(names))
            return Need(self.type_url, names=names, alone=True)
        need = Need(self.type_url, self._whole_is_due, tuple(self._due))
        self._whole_is_due = False
        self._due.clear()
        return need

    def put_back(self, need: Need) -> None:
        """Make `need` due again: its answer has to wait."""
        if need.alone:
            self._retries.appendleft(need.names)
            return
        self._whole_is_due = self._whole_is_due or (need.whole and self.wildcard)
        self._due.update(dict.fromkeys(name for name in need.names if name in self.names))

    def isolate(self, names: Sequence[str], suspects: Collection[str]) -> None:
        """Send a refused response's names again in smaller groups, so that the innocent arrive.

        Envoy stops at the first route, endpoint or secret that it refuses and drops the rest of the response.
        A suspect goes alone: its name may stand in the client's words by chance.
        """
        if len(names) > 1:
            rest = tuple(name for name in names if name not in suspects)
            accused = tuple(suspects)
            half = (len(accused) + 1) // 2
            self._retries.extend(group for group in (rest, accused[:half], accused[half:]) if group)

    def answer(self, need: Need, whole: ResourceSet | None, found: Mapping[str, Resource | None]) -> Draft | None:
        """The response that `need` leads to, or None if the client has all of it.

        `whole` is every resource of the type (None: it cannot be had whole); `found` holds each name of the
        need. Names unsubscribed since the need was made are left out.
        """
        resources: dict[str, Resource] = {}
        removed: list[str] = []
        shared: Difference | None = None
        must_answer = False
        if need.whole and self.wildcard:
            must_answer = self._stated is not None and not self._stated
            shared = self._answer_whole(whole if whole is not None else EMPTY_SET, resources, removed)
        for name in need.names:
            resource = found.get(name)
            if name in self.names:
                self._answer_name(name, resource, resources, removed)
            elif need.alone and self.wildcard and resource is not None:
                resources[name] = resource
        if shared is not None and not resources:
            draft = Draft(shared.changed, shared.payload, tuple(removed))
        else:
            resources.update({r.name: r for r in shared.changed} if shared is not None else {})
            values = tuple(resources.values())
            gone = tuple(name for name in removed if name not in resources)
            draft = Draft(values, b"".join(resource.body for resource in values), gone)
        return draft if draft.resources or draft.removed or must_answer else None

    def take_removals(self) -> tuple[str, ...]:
        """The names to remove from the client, which has then lost them."""
        names = tuple(sorted(self._removals))
        self._removals.clear()
        for name in names:
            if name in self._versions:
                self._versions[name] = _ABSENT
        return names

    def _subscribe(self, name: str, *, stated: str | None) -> None:
        if name == WILDCARD:
            if self.wildcard:
                self._forget_whole()
            self.wildcard = self._whole_is_due = True
            return
        name = intern(name)  # thousands of streams name the same clusters
        self.names.add(name)
        self._due[name] = None
        if stated is None:
            self._asked.add(name)
        else:
            self._versions[name] = stated

    def _unsubscribe(self, name: str) -> None:
        if name == WILDCARD:
            self.wildcard = self._whole_is_due = False
            self._forget_whole()
            self._forgotten.clear()
            self._removals = {n: None for n in self._removals if n in self.names}
            return
        was_given = name in self.names or name in self._base or name in (self._stated or ())
        self.names.discard(name)
        self._versions.pop(name, None)
        self._due.pop(name, None)
        self._asked.discard(name)
        self._removals.pop(name, None)
        if self.wildcard and was_given:
            self._forgotten.add(name)
            self._whole_is_due = True

    def _forget_whole(self) -> None:
        """Send everything again at the next answer; what is gone by then is removed, it may be under way."""
        self._stated = dict.fromkeys((*(self._stated or ()), *self._base), _ABSENT)
        self._base = EMPTY_SET

    def _answer_whole(
        self, whole: ResourceSet, resources: dict[str, Resource], removed: list[str]
    ) -> Difference | None:
        """Bring the wildcard to `whole`; the difference is returned shared where nothing is special."""
        shared: Difference | None = None
        if self._stated is None:
            shared = diff(self._base, whole)
            gone: Iterable[str] = shared.removed
        else:
            stated = self._stated
            if stated:
                resources.update({n: r for n, r in whole.items() if stated.get(n) != r.version})
            else:
                shared = diff(EMPTY_SET, whole)
            gone = [name for name in stated if name not in whole]
            self._stated = None
        for name in whole.keys() & self._removals.keys() if self._removals else ():
            del self._removals[name]
        self._removals.update(dict.fromkeys(name for name in gone if name not in self.names))
        for name in sorted(self._forgotten):
            if name in whole:
                resources[name] = whole[name]
            else:
                removed.append(name)
                self._removals.pop(name, None)
        self._forgotten.clear()
        self._base = whole
        return shared

    def _answer_name(
        self, name: str, resource: Resource | None, resources: dict[str, Resource], removed: list[str]
    ) -> None:
        asked = name in self._asked
        self._asked.discard(name)
        if resource is not None:
            self._removals.pop(name, None)
            if asked or self._versions.get(name) != resource.version:
                resources[name] = resource
            self._versions[name] = resource.version
        elif asked:
            self._removals.pop(name, None)
            self._versions[name] = _ABSENT
            removed.append(name)
        elif self._versions.get(name, _ABSENT) != _ABSENT:
            self._removals[name] = None
