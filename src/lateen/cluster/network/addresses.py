"""Pod addresses: which of 10.244.0.0/16 are free.

Invariants: an address given back is used again only after all others were, so that a peer that still knows a pod's
old address does not meet another pod there.
"""

from __future__ import annotations

import ipaddress

from lateen.base.errors import UnavailableError

POD_NETWORK = ipaddress.IPv4Network("10.244.0.0/16")
_RESERVED = 2  # the network's own and the bridge's


class AddressPool:
    """Hands out pod addresses."""

    def __init__(self, network: ipaddress.IPv4Network = POD_NETWORK) -> None:
        self._network = network
        self._next = _RESERVED
        self._used: set[str] = set()

    def claim(self, address: str) -> bool:
        """Take this address, as a pod had it in an earlier life of the node; False when it cannot be had."""
        try:
            parsed = ipaddress.IPv4Address(address)
        except ValueError:
            return False
        offset = int(parsed) - int(self._network.network_address)
        if parsed not in self._network or offset < _RESERVED or address in self._used:
            return False
        self._used.add(address)
        self._next = max(self._next, offset + 1)
        return True

    def allocate(self) -> str:
        """Take a free address; raises UnavailableError when there is none."""
        count = self._network.num_addresses - 1
        for _ in range(count):
            if self._next >= count:
                self._next = _RESERVED
            address = str(self._network[self._next])
            self._next += 1
            if address not in self._used:
                self._used.add(address)
                return address
        raise UnavailableError(f"no pod address is free in {self._network}")

    def release(self, address: str) -> None:
        """Give an address back."""
        self._used.discard(address)
