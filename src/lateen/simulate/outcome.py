"""What becomes of a request: the steps it took through the configuration, and how it ended.

Invariant: `failure` is set when no backend and no answer of the route's own was reached; the names of steps that were
taken before stay. The texts of failures are those of Istio's simulation tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Literal

from lateen.simulate.document import Document


class Failure(Enum):
    """Why a request ended without answer of a backend or route."""

    NO_LISTENER = "no listener matched"
    NO_FILTER_CHAIN = "no filter chains matched"
    MANY_FILTER_CHAINS = "multiple filter chains matched"
    NO_VIRTUAL_HOST = "no virtual host matched"
    NO_ROUTE = "no route matched"
    TLS_REQUIRED = "tls required, sending 301"
    PROTOCOL = "protocol error"
    TLS = "invalid TLS"
    MTLS = "invalid mTLS"
    NO_CLUSTER = "no such cluster"
    NO_ENDPOINT = "no healthy endpoint"


@dataclass(frozen=True)
class WeightedCluster:
    """One branch of a split; `share` is from 0 to 1."""

    cluster: str
    share: float


@dataclass(frozen=True)
class Fault:
    """What the fault filter does; shares are from 0 to 1."""

    delay: timedelta | None = None
    delay_share: float = 0.0
    abort_status: int | None = None
    abort_share: float = 0.0


@dataclass(frozen=True)
class Retry:
    """When and how often the route tries again."""

    on: str
    attempts: int
    per_try_timeout: timedelta | None = None


@dataclass(frozen=True)
class Endpoint:
    """A backend that may get the request, and how the connection to it is secured."""

    address: str
    port: int
    tls: Literal["plaintext", "tls", "mtls"] = "plaintext"
    transport_socket: str = ""
    is_healthy: bool = True
    weight: int = 1
    locality: str = ""
    priority: int = 0


@dataclass(frozen=True)
class Outcome:
    """The path of one request; a step that was not reached is empty."""

    listener: str = ""
    filter_chain: str = ""
    route_config: str = ""
    virtual_host: str = ""
    route: str = ""
    cluster: str = ""
    clusters: tuple[WeightedCluster, ...] = ()
    failure: Failure | None = None
    status: int | None = None
    body: str = ""
    location: str = ""
    host: str = ""
    path: str = ""
    timeout: timedelta | None = None
    retry: Retry | None = None
    fault: Fault | None = None
    mirrors: tuple[WeightedCluster, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    matched: Document | None = None

    @property
    def response_flag(self) -> str:
        """Envoy's RESPONSE_FLAGS for the failure; empty without one."""
        return _FLAGS.get(self.failure, "") if self.failure is not None else ""


_FLAGS = {
    Failure.NO_FILTER_CHAIN: "NR",
    Failure.NO_VIRTUAL_HOST: "NR",
    Failure.NO_ROUTE: "NR",
    Failure.NO_CLUSTER: "NC",
    Failure.NO_ENDPOINT: "UH",
}
