"""Which listener takes a connection, and what its listener filters find out.

| interception | listener |
| --- | --- |
| none | the one bound to the address and port, or to the port on every address |
| outbound | the redirecting listener hands over to such a one (use_original_dst), else keeps it: `virtualOutbound` |
| inbound | `virtualInbound`, whose filter chains look at the original destination |

Source: Envoy's pages "Listeners", "Original destination"; envoy/config/listener/v3/listener.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from lateen.simulate.configuration import Configuration
from lateen.simulate.document import Document, flag, items, number, part, text
from lateen.simulate.request import Request

INBOUND, OUTBOUND = "virtualInbound", "virtualOutbound"
TLS_INSPECTOR = "envoy.filters.listener.tls_inspector"
HTTP_INSPECTOR = "envoy.filters.listener.http_inspector"
_WILDCARDS = ("0.0.0.0", "::")


def find_listener(configuration: Configuration, request: Request) -> Document | None:
    """The listener that processes the connection; None when it is refused."""
    if request.interception == "inbound":
        return _find_named(configuration, INBOUND)
    for addresses in ((request.address,), _WILDCARDS):
        for listener in configuration.listeners:
            if any(place in addresses and port == request.port for place, port in _bound_to(listener)):
                return listener
    return _find_named(configuration, OUTBOUND)


def inspects(listener: Document, name: str, port: int) -> bool:
    """Whether a listener filter looks at connections to the port."""
    for each in items(listener, "listenerFilters"):
        if text(each, "name") == name:
            return not _holds(part(each, "filterDisabled"), port)
    return False


def detect_protocols(listener: Document, request: Request, *, sees_tls: bool) -> tuple[str, ...]:
    """The application protocols that filter chains are matched with, in the client's order."""
    if request.tls == "plaintext" and inspects(listener, HTTP_INSPECTOR, request.port):
        return {"http": ("http/1.1",), "http2": ("h2c",), "tcp": ()}[request.protocol]
    return request.alpn if sees_tls else ()


def _find_named(configuration: Configuration, name: str) -> Document | None:
    return next((one for one in configuration.listeners if text(one, "name") == name), None)


def _bound_to(listener: Document) -> Iterator[tuple[str, int]]:
    addresses = [part(listener, "address")]
    addresses += [part(one, "address") for one in items(listener, "additionalAddresses")]
    for address in addresses:
        place = part(address, "socketAddress")
        yield text(place, "address"), number(place, "portValue")


def _holds(predicate: Document, port: int) -> bool:
    """A ListenerFilterChainMatchPredicate on the destination port; an empty one does not hold."""
    if flag(predicate, "anyMatch"):
        return True
    for name, combine in (("orMatch", any), ("andMatch", all)):
        if found := part(predicate, name):
            return combine(_holds(rule, port) for rule in items(found, "rules"))
    if found := part(predicate, "notMatch"):
        return not _holds(found, port)
    if found := part(predicate, "destinationPortRange"):
        return number(found, "start") <= port < number(found, "end")
    return False
