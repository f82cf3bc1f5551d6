"""Gateways: what the Gateway objects that select a proxy make of it together.

(proxy's labels, ports of its Services) -> ports, each with its servers in the order in which they count.

| two servers on one port and address | |
| --- | --- |
| both plain HTTP | one listener, one set of routes |
| both TLS | told apart by server name; a name that is taken already drops the server |
| anything else | the later one is dropped |

Invariants: objects count in the order of their age. A server's port is that of a Service of the proxy, and so becomes
the port of the pod behind it; where no Service has it, it is taken as it is. Hosts are `host`, or `namespace/host` for
VirtualServices of one namespace.
Source: Istio's pilot/pkg/model/gateway.go (merging, names of routes, resolution of ports); SEMANTICS 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.api.gateway import Server
from lateen.base.names import ObjectRef
from lateen.incremental.query import query
from lateen.mesh.indexes import ANY_WORKLOAD, GATEWAYS_BY_SELECTOR
from lateen.mesh.inputs import GATEWAYS, SERVICES
from lateen.mesh.protocol import Protocol, select_protocol
from lateen.mesh.rows import Labels
from lateen.mesh.service import Target

if TYPE_CHECKING:
    from lateen.incremental.database import Database

PASSTHROUGH_MODES = {"PASSTHROUGH", "AUTO_PASSTHROUGH"}

PortMap = tuple[tuple[int, int], ...]
"""(port of a Service, port of the pod behind it), of which the first of a number counts."""


class GatewayServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server of a Gateway."""

    gateway: str
    """The Gateway, as `namespace/name`."""
    server: Server
    protocol: Protocol
    route_name: str
    """Name of its routes; empty where it carries bytes."""

    @property
    def terminates(self) -> bool:
        """Whether TLS ends here."""
        tls = self.server.tls
        return tls is not None and not self.protocol.is_http and tls.mode not in PASSTHROUGH_MODES

    @property
    def server_names(self) -> tuple[str, ...]:
        """The names of TLS handshakes that are meant for it; none for all."""
        names = tuple(dict.fromkeys(host.rpartition("/")[2].lower() for host in self.server.hosts))
        return () if self.server.tls is None or "*" in names else names


class GatewayPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port on which a gateway listens."""

    number: int
    bind: str
    protocol: Protocol
    servers: tuple[GatewayServer, ...]


@query
def find_port_map(db: Database, ports: tuple[tuple[int, tuple[Target, ...]], ...]) -> PortMap:
    """Return which ports of Services mean which ports of a workload, as `mesh.service.targets` gives them."""
    found: dict[int, int] = {}
    for target in sorted(target for _, group in ports for target in group):
        row = db.get(SERVICES, target.ref)
        if row is not None and row.port_translation:
            found.setdefault(target.service_port, target.port)
    return tuple(sorted(found.items()))


@query
def gateway_ports(db: Database, labels: Labels, ports: PortMap) -> tuple[GatewayPort, ...]:
    """Return the ports of the gateway that workloads with these labels are, by number."""
    merger = _Merger(dict(ports))
    for ref in selecting_gateways(db, labels):
        row = db.get(GATEWAYS, ref)
        assert row is not None, "an index names a row that is not there"
        for server in row.spec.servers:
            merger.add(ref, server)
    return merger.build()


@query
def selecting_gateways(db: Database, labels: Labels) -> tuple[ObjectRef, ...]:
    """Return the Gateways that select workloads with these labels, oldest first."""
    carried = set(labels)
    found = []
    for label in (ANY_WORKLOAD, *labels):
        for ref in db.lookup(GATEWAYS_BY_SELECTOR, label):
            row = db.get(GATEWAYS, ref)
            if row is not None and set(row.spec.selector.items()) <= carried:
                found.append((row.created, ref))
    return tuple(ref for _, ref in sorted(found))


class _Merger:
    """Gateways being merged; lives within one query."""

    def __init__(self, ports: dict[int, int]) -> None:
        self._ports = ports
        self._servers: dict[tuple[int, str], list[GatewayServer]] = {}
        self._names: dict[tuple[int, str], set[str]] = {}
        self._route_names: set[str] = set()

    def add(self, ref: ObjectRef, server: Server) -> None:
        """Add a server, unless one that was added before stands in its way."""
        server = msgspec.structs.replace(server, hosts=_resolve_hosts(server.hosts, ref.namespace))
        number = self._ports.get(server.port.number, server.port.number)
        protocol = select_protocol(server.port.number, "", server.port.protocol)
        added = GatewayServer(
            gateway=f"{ref.namespace}/{ref.name}",
            server=server,
            protocol=protocol,
            route_name=_name_routes(ref, server, protocol, number),
        )
        place = (number, server.bind)
        before = self._servers.setdefault(place, [])
        if before and not _fit(before[0], added):
            return
        if server.tls is not None and not protocol.is_http:
            taken = self._names.setdefault(place, set())
            if taken & set(server.hosts) or (added.route_name and added.route_name in self._route_names):
                return
            taken.update(server.hosts)
        self._route_names.add(added.route_name)
        before.append(added)

    def build(self) -> tuple[GatewayPort, ...]:
        """Return the ports by number."""
        return tuple(
            GatewayPort(number=number, bind=bind, protocol=servers[0].protocol, servers=tuple(servers))
            for (number, bind), servers in sorted(self._servers.items())
            if servers
        )


def _fit(first: GatewayServer, added: GatewayServer) -> bool:
    if first.protocol.is_http or added.protocol.is_http:
        return first.protocol.is_http and added.protocol.is_http
    return first.server.tls is not None and added.server.tls is not None


def _resolve_hosts(hosts: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    """Return hosts without `./`, which is the object's namespace, and `*/`, which is any."""
    found = []
    for host in hosts:
        owner, slash, name = host.partition("/")
        if not slash or owner == "*":
            found.append(name or owner)
        else:
            found.append(f"{namespace if owner == '.' else owner}/{name}")
    return ("*",) if "*" in found else tuple(dict.fromkeys(found))


def _name_routes(ref: ObjectRef, server: Server, protocol: Protocol, number: int) -> str:
    bind = f".{server.bind}" if server.bind else ""
    if protocol.is_http:
        return f"http.{number}{bind}"
    if protocol is Protocol.HTTPS and server.tls is not None and server.tls.mode not in PASSTHROUGH_MODES:
        return f"https.{server.port.number}.{server.port.name}.{ref.name}.{ref.namespace}{bind}"
    return ""


def list_hosts_for(server: Server, namespace: str) -> tuple[str, ...]:
    """Return the hosts of a server that VirtualServices of a namespace may bind."""
    found = []
    for host in server.hosts:
        owner, slash, name = host.partition("/")
        if not slash or owner == namespace:
            found.append(name if slash else host)
    return tuple(dict.fromkeys(found))
