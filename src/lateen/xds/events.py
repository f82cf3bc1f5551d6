"""What the protocol reports to whoever owns a stream: plain values, one for each thing that happened.

Invariants: the names in `Subscribed` and `Unsubscribed` are explicit ones; `whole` stands for the wildcard.
Source: the words of Envoy's xDS protocol page.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The client wants these names of a type, and everything of it if `whole`."""

    type_url: str
    names: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The client no longer wants these names, nor everything if `whole`."""

    type_url: str
    names: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The client uses what the response `nonce` carried."""

    type_url: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The client refused the response `nonce` (NACK) in these words; suspects: resource name -> version.

    The suspects are the resources that the words name, or all of the response if they name none.
    """

    type_url: str
    nonce: str
    message: str
    suspects: dict[str, str]


@dataclass(frozen=True, slots=True)
class Stale:
    """The request speaks of a response that is no longer under way, and changes nothing by it."""

    type_url: str
    nonce: str


Event: TypeAlias = Subscribed | Unsubscribed | Acknowledged | Refused | Stale
