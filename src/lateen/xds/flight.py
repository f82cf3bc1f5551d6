"""Responses of one type that were sent and not yet answered by the client.

Flow: `send(nonce, resources, now)` -> `is_waiting(now)` -> `settle(nonce)`.

Invariants: at most a handful are remembered, however the client behaves. Waiting ends with the answer to the
newest response or after `PATIENCE_SECONDS`; a client that let the patience run out is not waited for again
until it answers. Times are seconds of any one monotonic clock, passed in.
"""

from dataclasses import dataclass

from lateen.xds.resources import Resource

PATIENCE_SECONDS = 1.0
"""Longer than a healthy cluster takes to warm, short enough for a user who waits for a change."""

_MAX_REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Sent:
    """A response under way."""

    nonce: str
    resources: tuple[Resource, ...]
    at: float


class Flight:
    """The responses of one type under way to one client, oldest first."""

    def __init__(self) -> None:
        self.sent_nonce = ""
        self.acknowledged_nonce = ""
        self._sent: dict[str, Sent] = {}
        self._impatient = False

    def send(self, nonce: str, resources: tuple[Resource, ...], now: float) -> None:
        """Remember a response that goes out now."""
        self._impatient = bool(self._sent)
        self._sent[nonce] = Sent(nonce, resources, now)
        self.sent_nonce = nonce
        while len(self._sent) > _MAX_REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def settle(self, nonce: str) -> Sent | None:
        """The response that the client answers with `nonce`; None if it is not under way."""
        sent = self._sent.pop(nonce, None)
        if sent is not None and nonce == self.sent_nonce:
            self._sent.clear()
            self._impatient = False
        return sent

    def is_waiting(self, now: float) -> bool:
        """Whether the next response has to wait for an answer."""
        deadline = self.deadline
        return deadline is not None and now < deadline

    @property
    def deadline(self) -> float | None:
        """When waiting ends without an answer; None if nothing is waited for."""
        if not self._sent or self._impatient:
            return None
        return self._sent[self.sent_nonce].at + PATIENCE_SECONDS


def find_suspects(sent: Sent, message: str) -> dict[str, str]:
    """Name -> version of the resources that a refusal of `sent` may be about, judged by its words."""
    versions = {resource.name: resource.version for resource in sent.resources}
    return {name: version for name, version in versions.items() if name in message} or versions
