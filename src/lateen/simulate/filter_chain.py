"""Which filter chain of a listener takes a connection.

The criteria are looked at in this order; each keeps the chains that name the connection's value most specifically, or,
when none does, those that say nothing about it:

destination port, destination address (longest prefix), server name (exact, then wildcards from longest to shortest),
transport protocol, application protocol (in the client's order), direct source address, source type, source address,
source port.

Invariant: a choice is final: where it leads to no chain, only the listener's default chain is left.
Source: FilterChainMatch in envoy/config/listener/v3/listener_components.proto; Envoy's filter chain lookup.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache

from lateen.simulate.document import Document, has, items, number, part, text
from lateen.simulate.outcome import Failure
from lateen.simulate.request import Request

Chains = Sequence[Document]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNMATCHED = -1


def find_filter_chain(
    listener: Document, request: Request, protocols: Sequence[str], *, sees_tls: bool
) -> Document | Failure:
    """The chain, or why there is none; `protocols` are the application protocols that were detected."""
    connection = _Connection(request, protocols, sees_tls=sees_tls)
    found = connection.choose(items(listener, "filterChains"), 0)
    if len(found) > 1:
        return Failure.MANY_FILTER_CHAINS
    if found:
        return found[0]
    default = part(listener, "defaultFilterChain")
    return default or Failure.NO_FILTER_CHAIN


class _Connection:
    """One connection against the criteria; a rank is the higher the more specific, `_UNMATCHED` for no match."""

    def __init__(self, request: Request, protocols: Sequence[str], *, sees_tls: bool) -> None:
        self._request = request
        self._protocols = protocols
        self._transport = "tls" if sees_tls and request.tls != "plaintext" else "raw_buffer"
        self._criteria: tuple[tuple[str, Callable[[Document], int]], ...] = (
            ("destinationPort", self._rank_port),
            ("prefixRanges", lambda match: rank_ranges(items(match, "prefixRanges"), request.address)),
            ("serverNames", lambda match: rank_server_names(items(match, "serverNames"), request.sni)),
            ("transportProtocol", self._rank_transport),
            ("applicationProtocols", self._rank_application),
            (
                "directSourcePrefixRanges",
                lambda match: rank_ranges(items(match, "directSourcePrefixRanges"), request.source_address),
            ),
            ("sourceType", self._rank_source_type),
            (
                "sourcePrefixRanges",
                lambda match: rank_ranges(items(match, "sourcePrefixRanges"), request.source_address),
            ),
            ("sourcePorts", self._rank_source_port),
        )

    def choose(self, chains: Chains, index: int) -> Chains:
        """The chains that are left after the criteria from `index` on."""
        if index == len(self._criteria) or not chains:
            return chains
        field, rank = self._criteria[index]
        silent = [chain for chain in chains if not _names(chain, field)]
        ranked = [(rank(part(chain, "filterChainMatch")), chain) for chain in chains if _names(chain, field)]
        best = max((value for value, _ in ranked), default=_UNMATCHED)
        if best == _UNMATCHED:
            return self.choose(silent, index + 1)
        return self.choose([chain for value, chain in ranked if value == best], index + 1)

    def _rank_port(self, match: Document) -> int:
        return 0 if number(match, "destinationPort") == self._request.port else _UNMATCHED

    def _rank_transport(self, match: Document) -> int:
        return 0 if text(match, "transportProtocol") == self._transport else _UNMATCHED

    def _rank_application(self, match: Document) -> int:
        offered = items(match, "applicationProtocols")
        places = [place for place, protocol in enumerate(self._protocols) if protocol in offered]
        return len(self._protocols) - places[0] if places else _UNMATCHED

    def _rank_source_type(self, match: Document) -> int:
        source = ipaddress.ip_address(self._request.source_address)
        is_local = source.is_loopback or self._request.source_address == self._request.address
        wanted = text(match, "sourceType")
        return 0 if (wanted == "SAME_IP_OR_LOOPBACK") is is_local else _UNMATCHED

    def _rank_source_port(self, match: Document) -> int:
        ports = [int(port) for port in items(match, "sourcePorts")]
        return 0 if self._request.source_port in ports else _UNMATCHED


def _names(chain: Document, field: str) -> bool:
    match = part(chain, "filterChainMatch")
    if field == "sourceType":
        return text(match, field) not in ("", "ANY")
    return has(match, field) and bool(items(match, field) if field.endswith("s") else text(match, field))


def rank_ranges(ranges: Sequence[Document], address: str) -> int:
    """The length of the longest range that holds the address."""
    place = ipaddress.ip_address(address)
    networks = (_network(text(one, "addressPrefix"), number(one, "prefixLen")) for one in ranges)
    lengths = [network.prefixlen for network in networks if network.version == place.version and place in network]
    return max(lengths, default=_UNMATCHED)


@lru_cache(4096)
def _network(prefix: str, length: int) -> Network:
    return ipaddress.ip_network(f"{prefix}/{length}", strict=False)


def rank_server_names(names: Sequence[str], sni: str) -> int:
    """The length of the longest name that covers the SNI; an exact one counts more than any wildcard."""
    sni = sni.lower()
    lengths = [_UNMATCHED]
    for name in names:
        lower = name.lower()
        if lower == sni and sni:
            lengths.append(1_000_000)
        elif lower.startswith("*.") and sni.endswith(lower[1:]) and len(sni) > len(lower) - 1:
            lengths.append(len(lower))
    return max(lengths)
