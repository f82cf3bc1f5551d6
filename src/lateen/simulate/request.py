"""A request as it meets Envoy: connection first, HTTP after.

Invariants: header names are lower case; the path holds the query; `sample` stands for every random draw of one
request (weights, runtime fractions), so that a simulation is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Interception = Literal["none", "outbound", "inbound"]
Protocol = Literal["http", "http2", "tcp"]
Tls = Literal["plaintext", "tls", "mtls"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; `address` and `port` are what the client dialled."""

    address: str
    port: int
    interception: Interception = "none"
    protocol: Protocol = "http"
    tls: Tls = "plaintext"
    sni: str = ""
    alpn: tuple[str, ...] = ()
    source_address: str = "127.0.0.1"
    source_port: int = 0
    method: str = "GET"
    host: str = ""
    path: str = "/"
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sample: float | None = None
    mtls_secret: str = "default"

    @property
    def path_only(self) -> str:
        """The path without query and fragment, which is what routes match."""
        return self.path.partition("#")[0].partition("?")[0]

    @property
    def query(self) -> str:
        """The query without `?`."""
        return self.path.partition("#")[0].partition("?")[2]

    @property
    def scheme(self) -> str:
        """What Envoy takes the scheme to be: it comes from the connection."""
        return "http" if self.tls == "plaintext" else "https"

    def find_header(self, name: str) -> str | None:
        """The first value of a header or pseudo header; None when it is missing."""
        values = self.find_values(name)
        return values[0] if values else None

    def find_values(self, name: str) -> tuple[str, ...]:
        """Every value of a header or pseudo header, in order."""
        pseudo = {":authority": self.host, "host": self.host, ":path": self.path, ":method": self.method}
        pseudo[":scheme"] = self.scheme
        found = pseudo.get(name.lower())
        return self.headers.get(name.lower(), ()) if found is None else (found,)
