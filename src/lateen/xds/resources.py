"""Envoy resources as bytes that are made once: the unit of distribution.

Flow: Envoy message -> `Resource` (name, content hash, wire fragment) -> `ResourceSet` -> `Difference`.

A `Resource.body` is the whole `resources` field (tag 2, length, value) of a DeltaDiscoveryResponse, so a
response is a concatenation of bodies. Inside it the Any comes last: `Resource.any_field` is then exactly
the `resources` field (tag 2 as well) of a state-of-the-world DiscoveryResponse, and nothing is stored twice.

Invariants: all values are immutable; equal content gives an equal version in every process and on every
replica (content hash of a deterministic serialisation); names in a set are unique and iterate sorted.
Source: envoy/service/discovery/v3/discovery.proto. Istio versions by push counter; a content hash lets a
proxy that reconnects, even to another replica, keep what it has.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import NewType, Protocol
from weakref import WeakKeyDictionary

TypeUrl = NewType("TypeUrl", str)

TYPE_PREFIX = "type.googleapis.com/"
CLUSTER = TypeUrl(TYPE_PREFIX + "envoy.config.cluster.v3.Cluster")
ENDPOINT = TypeUrl(TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment")
LISTENER = TypeUrl(TYPE_PREFIX + "envoy.config.listener.v3.Listener")
ROUTE = TypeUrl(TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration")
SECRET = TypeUrl(TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret")
VIRTUAL_HOST = TypeUrl(TYPE_PREFIX + "envoy.config.route.v3.VirtualHost")
EXTENSION_CONFIG = TypeUrl(TYPE_PREFIX + "envoy.config.core.v3.TypedExtensionConfig")

SHORT_NAMES: Mapping[str, str] = {
    CLUSTER: "CDS",
    ENDPOINT: "EDS",
    LISTENER: "LDS",
    ROUTE: "RDS",
    SECRET: "SDS",
    VIRTUAL_HOST: "VHDS",
    EXTENSION_CONFIG: "ECDS",
}
"""type URL -> the name users know it by (`proxy-status`, metrics, logs)."""

_VERSION_BYTES = 8


class Message(Protocol):
    """What this module needs of a protobuf message."""

    @property
    def DESCRIPTOR(self) -> object:
        """The message's descriptor, of which `full_name` is read."""

    def SerializeToString(self, *, deterministic: bool) -> bytes:
        """The message in wire format."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One named Envoy resource, serialised."""

    name: str
    version: str
    body: bytes = field(repr=False)
    any_offset: int = field(repr=False)

    @property
    def any_field(self) -> bytes:
        """The resource as the `resources` field of a state-of-the-world response."""
        return self.body[self.any_offset :]

    def __hash__(self) -> int:
        return hash((self.name, self.version))


def encode_varint(value: int) -> bytes:
    """Protobuf base-128 encoding of a non-negative integer."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field: tag, length, value."""
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value


def build_resource(message: Message, name: str | None = None, *, aliases: Iterable[str] = ()) -> Resource:
    """The resource that carries `message`.

    Without `name` it is the message's own `name`, or `cluster_name` of a ClusterLoadAssignment. `aliases` are
    other names under which a client may have asked for it (virtual hosts on demand).
    """
    if name is None:
        name = str(getattr(message, "name", "") or getattr(message, "cluster_name", ""))
    type_url = TYPE_PREFIX + str(getattr(message.DESCRIPTOR, "full_name", ""))
    return build_resource_from_bytes(type_url, name, message.SerializeToString(deterministic=True), aliases=aliases)


def build_resource_from_bytes(type_url: str, name: str, value: bytes, *, aliases: Iterable[str] = ()) -> Resource:
    """The resource whose message of type `type_url` is already serialised as `value`."""
    any_field = encode_field(2, encode_field(1, type_url.encode()) + encode_field(2, value))
    alias_fields = b"".join(encode_field(4, alias.encode()) for alias in sorted(aliases))
    version = blake2b(any_field + alias_fields, digest_size=_VERSION_BYTES).hexdigest()
    entry = encode_field(1, version.encode()) + encode_field(3, name.encode()) + alias_fields + any_field
    body = encode_field(2, entry)
    return Resource(name, version, body, len(body) - len(any_field))


class ResourceSet(Mapping[str, Resource]):
    """An immutable set of resources of one type: name -> resource, sorted by name.

    Equality and hash are those of the content, by way of `version`.
    """

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        by_name = {resource.name: resource for resource in resources}
        self._resources = dict(sorted(by_name.items()))
        self._differences: WeakKeyDictionary[ResourceSet, Difference] = WeakKeyDictionary()

    @cached_property
    def version(self) -> str:
        """The content hash of the whole set."""
        lines = "\n".join(f"{name}\0{resource.version}" for name, resource in self._resources.items())
        return blake2b(lines.encode(), digest_size=_VERSION_BYTES).hexdigest()

    @cached_property
    def any_fields(self) -> bytes:
        """Every resource as `resources` fields of one state-of-the-world response."""
        return b"".join(resource.any_field for resource in self._resources.values())

    def __getitem__(self, name: str) -> Resource:
        return self._resources[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._resources)

    def __len__(self) -> int:
        return len(self._resources)

    def __contains__(self, name: object) -> bool:
        return name in self._resources

    def __hash__(self) -> int:
        return hash(self.version)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, ResourceSet) and self.version == other.version

    def __repr__(self) -> str:
        return f"ResourceSet({len(self)} resources, version {self.version})"


EMPTY_SET = ResourceSet()


@dataclass(frozen=True)
class Difference:
    """What turns one set into another: resources to add or replace, names to remove; each sorted by name."""

    changed: tuple[Resource, ...]
    removed: tuple[str, ...]

    @cached_property
    def payload(self) -> bytes:
        """The `resources` fields of `changed`, shared by every stream that needs this difference."""
        return b"".join(resource.body for resource in self.changed)


def diff(old: ResourceSet, new: ResourceSet) -> Difference:
    """What turns `old` into `new`; computed once for each pair of sets, however many streams ask."""
    known = new._differences.get(old)
    if known is not None:
        return known
    changed = tuple(resource for name, resource in new.items() if old.get(name) != resource)
    removed = tuple(name for name in old if name not in new)
    difference = Difference(changed, removed)
    new._differences[old] = difference
    return difference
