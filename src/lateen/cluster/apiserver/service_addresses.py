"""Addresses and node ports of Services: a new or changed Service -> the same with `clusterIP` and `nodePort`s.

Kubernetes allocates at the write, so a Service never exists without its address. Addresses are taken from
10.96.0.0/16, of which the first 256 are left to those who choose one themselves; ports from 30000-32767.
What is in use is read from the stored Services once and kept here. Source: the Kubernetes page "Service
ClusterIP allocation".
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterator
from typing import Any

from lateen.api.schema.errors import FieldError, invalid
from lateen.cluster.revisions import Key
from lateen.cluster.store import Store

SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
_FIRST_DYNAMIC = 256
NODE_PORTS = range(30000, 32768)

_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")

Document = dict[str, Any]


class ServiceAddresses:
    """Who holds which address and node port: the steps of `hooks.Hook` for Services."""

    def __init__(self, store: Store) -> None:
        self._holders: dict[str | int, Key] = {}
        self._held: dict[Key, list[str | int]] = {}
        self._next_address = _FIRST_DYNAMIC
        # Anywhere in the range, as on Kubernetes: the clusters of one machine share its ports.
        self._next_port = secrets.randbelow(len(NODE_PORTS))
        for revision in store.list_objects("services"):
            self._claim(revision.key, held_by(revision.document()))

    def complete(self, key: Key, document: Document, stored: Document | None) -> list[FieldError]:
        """Allocate what the Service lacks, in place, and claim it; errors if a value it chose is not to be
        had.
        """
        spec = document["spec"]
        kind = spec.get("type", "ClusterIP")
        if kind == "ExternalName":
            for field in _FIELDS:
                spec.pop(field, None)
            self._release(key)
            return []
        errors = self._allocate_address(key, spec)
        if kind in ("NodePort", "LoadBalancer") and spec.get("allocateLoadBalancerNodePorts") is not False:
            errors += self._allocate_ports(key, spec)
        if not errors:
            self._release(key)
            self._claim(key, held_by(document))
        return errors

    async def written(self, key: Key, document: Document) -> None:
        """The claim was made before the write."""

    async def removed(self, key: Key) -> None:
        """Give back what a Service held that is gone."""
        self._release(key)

    def _release(self, key: Key) -> None:
        for held in self._held.pop(key, ()):
            self._holders.pop(held, None)

    def undo(self, key: Key, stored: Document | None) -> None:
        """Go back to what the stored Service holds."""
        self._release(key)
        if stored is not None:
            self._claim(key, held_by(stored))

    def _claim(self, key: Key, held: list[str | int]) -> None:
        self._held[key] = held
        self._holders.update(dict.fromkeys(held, key))

    def _free(self, key: Key, wanted: str | int) -> bool:
        return self._holders.get(wanted, key) == key

    def _allocate_address(self, key: Key, spec: Document) -> list[FieldError]:
        chosen = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if not chosen:
            chosen = self._take_address()
            if not chosen:
                return [invalid("spec.clusterIPs", [], "failed to allocate IP: range is full")]
        elif chosen != "None":
            try:
                inside = ipaddress.ip_address(chosen) in SERVICE_NETWORK
            except ValueError:
                return [invalid("spec.clusterIPs[0]", chosen, "must be a valid IP address, (e.g. 10.9.8.7)")]
            if not inside:
                text = f"failed to allocate IP {chosen}: the provided IP ({chosen}) is not in the valid range. "
                text += f"The range of valid IPs is {SERVICE_NETWORK}"
                return [invalid("spec.clusterIPs", [chosen], text)]
            if not self._free(key, chosen):
                return [
                    invalid(
                        "spec.clusterIPs", [chosen], f"failed to allocate IP {chosen}: provided IP is already allocated"
                    )
                ]
        spec["clusterIP"] = chosen
        spec["clusterIPs"] = [chosen]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        return []

    def _take_address(self) -> str:
        size = SERVICE_NETWORK.num_addresses - 1 - _FIRST_DYNAMIC
        for offset in range(size):
            position = _FIRST_DYNAMIC + (self._next_address - _FIRST_DYNAMIC + offset) % size
            address = str(SERVICE_NETWORK[position])
            if address not in self._holders:
                self._next_address = position + 1
                return address
        return ""

    def _allocate_ports(self, key: Key, spec: Document) -> list[FieldError]:
        errors: list[FieldError] = []
        free = (port for port in self._ports() if port not in self._holders)
        for index, port in enumerate(spec.get("ports") or ()):
            chosen = port.get("nodePort")
            path = f"spec.ports[{index}].nodePort"
            if not chosen:
                found = next(free, None)
                if found is None:
                    return [*errors, invalid(path, 0, "failed to allocate a nodePort: range is full")]
                port["nodePort"] = found
                self._next_port = found + 1 - NODE_PORTS.start
            elif chosen not in NODE_PORTS:
                last = NODE_PORTS.stop - 1
                text = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS.start}-{last}"
                errors.append(invalid(path, chosen, text))
            elif not self._free(key, chosen):
                errors.append(invalid(path, chosen, "provided port is already allocated"))
        return errors

    def _ports(self) -> Iterator[int]:
        for offset in range(len(NODE_PORTS)):
            yield NODE_PORTS[(self._next_port + offset) % len(NODE_PORTS)]


def held_by(service: Document) -> list[str | int]:
    """The addresses and node ports of a Service."""
    spec = service.get("spec") or {}
    addresses: list[str | int] = [address for address in spec.get("clusterIPs") or () if address not in ("None", "")]
    ports: list[str | int] = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    return addresses + ports


_OF_TYPES = {
    "externalTrafficPolicy": ("NodePort", "LoadBalancer"),
    "healthCheckNodePort": ("LoadBalancer",),
    "allocateLoadBalancerNodePorts": ("LoadBalancer",),
    "loadBalancerClass": ("LoadBalancer",),
}
"""Field -> types of Services that have it."""


def drop_left_behind(spec: Document, stored: Document) -> None:
    """What a Service only had because of its former type, and the client left as it was, goes with that type."""
    kind = spec.get("type", "ClusterIP")
    if kind == stored.get("type", "ClusterIP"):
        return
    for field, types in _OF_TYPES.items():
        if kind not in types and field in spec and spec[field] == stored.get(field):
            del spec[field]
    if kind not in ("NodePort", "LoadBalancer"):
        held = {port.get("nodePort") for port in stored.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") in held:
                port.pop("nodePort", None)


def keep_addresses(spec: Document, stored: Document) -> None:
    """What a client left out of an update stays as it was allocated."""
    if spec.get("type") == "ExternalName" or stored.get("type") == "ExternalName":
        return
    for field in _FIELDS:
        if not spec.get(field) and stored.get(field):
            spec[field] = stored[field]
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        known = {(p.get("protocol", "TCP"), p.get("port")): p.get("nodePort") for p in stored.get("ports") or ()}
        for port in spec.get("ports") or ():
            held = known.get((port.get("protocol", "TCP"), port.get("port")))
            if held and not port.get("nodePort"):
                port["nodePort"] = held
