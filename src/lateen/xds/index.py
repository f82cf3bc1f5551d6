"""Who has to hear of a change: calls of the database -> streams that show their results.

Flow: streams add and discard what they subscribe to; a commit's dirty calls -> marks on streams.
Invariants: a call answers one type and one name (None: the whole type), whichever stream asks; a call is kept
once however many streams share it; clusters are marked first, so no stream sends a route before it knows of
the clusters that came with it.
"""

from collections.abc import Collection, Hashable, Iterator
from typing import Protocol

from lateen.xds.protocol import ORDER


class Subscriber(Protocol):
    """A stream, as the index knows it."""

    def mark(self, type_url: str, name: str | None) -> None:
        """Look again at a name, or with None at the whole type."""


class _Entry:
    __slots__ = ("name", "subscribers", "type_url")

    def __init__(self, type_url: str, name: str | None) -> None:
        self.type_url = type_url
        self.name = name
        self.subscribers: dict[Subscriber, None] = {}


class SubscriptionIndex:
    """Call -> the streams that show it."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, call: Hashable, type_url: str, name: str | None, subscriber: Subscriber) -> None:
        """Let `subscriber` hear of changes of `call`."""
        entry = self._entries.get(call)
        if entry is None:
            entry = self._entries[call] = _Entry(type_url, name)
        entry.subscribers[subscriber] = None

    def discard(self, call: Hashable, subscriber: Subscriber) -> None:
        """Let `subscriber` hear no more of `call`; does nothing if it does not."""
        entry = self._entries.get(call)
        if entry is None:
            return
        entry.subscribers.pop(subscriber, None)
        if not entry.subscribers:
            del self._entries[call]

    def calls(self) -> tuple[Hashable, ...]:
        """Every call that a stream shows."""
        return tuple(self._entries)

    def mark(self, dirty: Collection[Hashable]) -> Iterator[int]:
        """Mark every stream that shows one of the calls; yields now and then, how many marks were made."""
        entries = self._entries
        found = (
            [entries[call] for call in dirty if call in entries]
            if len(dirty) < len(entries)
            else [entry for call, entry in entries.items() if call in dirty]
        )
        rank: dict[str, int] = {type_url: position for position, type_url in enumerate(ORDER)}
        found.sort(key=lambda entry: rank.get(entry.type_url, len(ORDER)))
        for entry in found:
            for subscriber in entry.subscribers:
                subscriber.mark(entry.type_url, entry.name)
            yield len(entry.subscribers)
