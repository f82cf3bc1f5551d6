"""Outbound listeners: where connections of the app beside the proxy go.

Scope -> `envoy.config.listener.v3.Listener`s, by address and port. Only `virtualOutbound` is bound; it hands a
connection to the listener of its original destination:

| port of a service | listener | takes |
| --- | --- | --- |
| HTTP | `0.0.0.0_PORT`, one for all services | requests by host (RDS `PORT`); other bytes as undeclared |
| stream, with virtual address | `ADDRESS_PORT` | bytes |
| detected, with virtual address | `ADDRESS_PORT` | requests (RDS `HOST:PORT`), other bytes |
| stream or detected, without | `0.0.0.0_PORT` | TLS by server name; requests by host; other bytes to the oldest |
| stream or detected, headless | `ADDRESS_PORT` of each backend | bytes, requests |

Of HTTP and streams on `0.0.0.0_PORT` the oldest service's kind counts; detected ports go with both. What no listener
takes is passed on (ALLOW_ANY) or refused (REGISTRY_ONLY). Traffic to 15001 itself would loop, and is refused.
Source: Istio's pilot/pkg/networking/core/listener.go. We differ: a headless service's listener for the proxy's own
address is kept, so that proxies share one computation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.base.names import ObjectRef
from lateen.envoy.bootstrap import PROMETHEUS_PORT, READINESS_PORT
from lateen.incremental.query import query
from lateen.mesh.endpoint import backends
from lateen.mesh.indexes import SERVICES_BY_ADDRESS
from lateen.mesh.rows import ServiceRef
from lateen.mesh.service import find_port, find_service
from lateen.mesh.visibility import (
    Scope,
    created_at,
    is_seen,
    port_namespaces,
    service_namespaces,
    visible_services,
    visible_services_on_port,
)
from lateen.translate.outbound_listener import (
    ANY_ADDRESS,
    INBOUND_PORT,
    OUTBOUND_PORT,
    build_outbound_listener,
    virtual_outbound,
)
from lateen.xds.resources import Resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database

Bind = tuple[str, int]
"""Address and port of a listener."""

_RESERVED_PORTS = {OUTBOUND_PORT, INBOUND_PORT, READINESS_PORT, PROMETHEUS_PORT}


@query
def outbound_listeners(db: Database, scope: Scope) -> tuple[Resource, ...]:
    """Return every outbound listener of a scope; of two with one address the first service's counts."""
    found = {"virtualOutbound": virtual_outbound(db, scope.allow_any)}
    binds = {bind for namespace in service_namespaces(db) for bind in namespace_binds(db, namespace, scope.viewer)}
    for address, port in sorted(binds):
        build = any_address_listener if address == ANY_ADDRESS else address_listener
        listener = build(db, address, port, scope)
        found[listener.name] = listener
    for namespace in service_namespaces(db):
        for listener in headless_listeners(db, namespace, scope):
            found.setdefault(listener.name, listener)
    return tuple(found.values())


@query
def namespace_binds(db: Database, namespace: str, viewer: str) -> tuple[Bind, ...]:
    """Return the addresses and ports of the listeners that one namespace's services need."""
    return tuple(sorted({bind for ref in visible_services(db, namespace, viewer) for bind in service_binds(db, ref)}))


@query
def service_binds(db: Database, ref: ServiceRef) -> tuple[Bind, ...]:
    """Return the addresses and ports of the listeners that a service needs."""
    service = find_service(db, ref)
    if service is None:
        return ()
    own = [address for address in service.addresses if "/" not in address]
    anywhere = len(own) < len(service.addresses) or not own
    found: list[Bind] = []
    for port in service.ports:
        if port.protocol.is_http:
            found += [(ANY_ADDRESS, port.number)] if port.number not in _RESERVED_PORTS else []
        elif not service.headless:
            found += [(address, port.number) for address in own]
            found += [(ANY_ADDRESS, port.number)] if anywhere and port.number not in _RESERVED_PORTS else []
    return tuple(found)


@query
def address_listener(db: Database, address: str, port: int, scope: Scope) -> Resource:
    """Return the listener of a virtual address and port, for the services that claim it."""
    owners = _list_owners(db, address, port, scope.viewer)
    return build_outbound_listener(db, address, port, [(ref, port) for ref in owners], scope)


@query
def any_address_listener(db: Database, address: str, port: int, scope: Scope) -> Resource:
    """Return the listener of a port on all addresses, for the services without a virtual address of their own."""
    requests: list[tuple[str, ServiceRef]] = []
    streams: list[tuple[str, ServiceRef]] = []
    for namespace in port_namespaces(db, port):
        found = namespace_claims(db, namespace, port, scope.viewer)
        requests += found[0]
        streams += found[1]
    http = bool(requests) and (not streams or min(requests) < min(streams) or _all_detected(db, port, streams))
    kept = [ref for _, ref in sorted(streams) if not http or _all_detected(db, port, [("", ref)])]
    return shared_listener(db, address, port, tuple(kept), http, scope)


Claims = tuple[tuple[str, ServiceRef], ...]


@query
def namespace_claims(db: Database, namespace: str, port: int, viewer: str) -> tuple[Claims, Claims]:
    """Return the oldest HTTP service of a namespace on a port of all addresses, and all others, with their ages."""
    requests: list[tuple[str, ServiceRef]] = []
    streams: list[tuple[str, ServiceRef]] = []
    for ref in visible_services_on_port(db, namespace, port, viewer):
        if (ANY_ADDRESS, port) in service_binds(db, ref):
            service = find_service(db, ref)
            known = find_port(service, port)
            is_http = known is not None and known.protocol.is_http
            (requests if is_http else streams).append((created_at(db, ref), ref))
    return tuple(sorted(requests)[:1]), tuple(sorted(streams))


def _all_detected(db: Database, port: int, claims: list[tuple[str, ServiceRef]]) -> bool:
    known = [find_port(find_service(db, ref), port) for _, ref in claims]
    return all(one is not None and one.protocol.is_detected for one in known)


def _list_owners(db: Database, address: str, port: int, viewer: str) -> tuple[ServiceRef, ...]:
    """Return the services that claim a virtual address and a stream port of it, oldest first."""
    seen = [ref for ref in db.lookup(SERVICES_BY_ADDRESS, address) if is_seen(db, ref, viewer)]
    claims = [(created_at(db, ref), ref) for ref in seen if (address, port) in service_binds(db, ref)]
    return tuple(ref for _, ref in sorted(claims))


@query
def shared_listener(
    db: Database, address: str, port: int, streams: tuple[ServiceRef, ...], http: bool, scope: Scope
) -> Resource:
    """Return a listener for streams to some services, oldest first, and with `http` for requests by host."""
    return build_outbound_listener(db, address, port, [(ref, port) for ref in streams], scope, http=http)


@query
def headless_listeners(db: Database, namespace: str, scope: Scope) -> tuple[Resource, ...]:
    """Return the listeners of the backends of one namespace's headless services."""
    refs = visible_services(db, namespace, scope.viewer)
    return tuple(listener for ref in refs for listener in service_listeners(db, ref, scope))


@query
def service_listeners(db: Database, ref: ServiceRef, scope: Scope) -> tuple[Resource, ...]:
    """Return the listeners of a headless service's ready backends, for the ports that are no HTTP."""
    service = find_service(db, ref)
    if service is None or not service.headless or not isinstance(ref, ObjectRef):
        return ()
    return tuple(
        build_outbound_listener(db, backend.address, backend.port, [(ref, port.number)], scope)
        for port in service.ports
        if not port.protocol.is_http
        for backend in backends(db, ref, port.number)
        if backend.ready
    )
