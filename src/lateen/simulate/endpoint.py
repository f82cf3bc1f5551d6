"""Which backends a cluster sends to, and how each connection is secured.

Flow: cluster + its load assignment -> endpoints with the transport socket that matches their metadata.
The first of `transport_socket_matches` counts whose every label the endpoint has; none: the cluster's own socket.
Source: envoy/config/cluster/v3/cluster.proto (TransportSocketMatch); Istio's auto mTLS (label `tlsMode: istio`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from lateen.simulate.configuration import Configuration
from lateen.simulate.document import Document, config_of, is_type, items, number, part, text
from lateen.simulate.outcome import Endpoint
from lateen.simulate.request import Request

SOCKET_MATCH = "envoy.transport_socket_match"
_UNUSABLE = frozenset({"UNHEALTHY", "DRAINING", "TIMEOUT"})
Security = Literal["plaintext", "tls", "mtls"]


def find_endpoints(configuration: Configuration, cluster: Document, request: Request) -> tuple[Endpoint, ...]:
    """The cluster's endpoints, in the order of the load assignment."""
    if text(cluster, "type") == "ORIGINAL_DST":
        socket = part(cluster, "transportSocket")
        return (Endpoint(request.address, request.port, classify_socket(socket), text(socket, "name")),)
    name = text(part(cluster, "edsClusterConfig"), "serviceName") or text(cluster, "name")
    assignment = part(cluster, "loadAssignment") or configuration.endpoints.get(name) or {}
    return tuple(_read_endpoints(cluster, assignment))


def _read_endpoints(cluster: Document, assignment: Document) -> Iterator[Endpoint]:
    for locality in items(assignment, "endpoints"):
        place = part(locality, "locality")
        names = [text(place, name) for name in ("region", "zone", "subZone")]
        for one in items(locality, "lbEndpoints"):
            address = part(one, "endpoint", "address", "socketAddress")
            socket, name = find_socket(cluster, one)
            yield Endpoint(
                address=text(address, "address") or text(part(one, "endpoint", "address", "pipe"), "path"),
                port=number(address, "portValue"),
                tls=classify_socket(socket),
                transport_socket=name,
                is_healthy=text(one, "healthStatus") not in _UNUSABLE,
                weight=number(one, "loadBalancingWeight", 1),
                locality="/".join(names).rstrip("/"),
                priority=number(locality, "priority"),
            )


def find_socket(cluster: Document, endpoint: Document) -> tuple[Document, str]:
    """The transport socket for an endpoint and the name of its match."""
    labels = part(endpoint, "metadata", "filterMetadata").get(SOCKET_MATCH) or {}
    for candidate in items(cluster, "transportSocketMatches"):
        if all(labels.get(name) == value for name, value in part(candidate, "match").items()):
            return part(candidate, "transportSocket"), text(candidate, "name")
    socket = part(cluster, "transportSocket")
    return socket, text(socket, "name")


def classify_socket(socket: Document) -> Security:
    """Whether a transport socket encrypts, and whether it shows a certificate of its own."""
    config = config_of(socket)
    if not is_type(config, "UpstreamTlsContext"):
        return "plaintext"
    context = part(config, "commonTlsContext")
    shows = items(context, "tlsCertificates") or items(context, "tlsCertificateSdsSecretConfigs")
    return "mtls" if shows or part(context, "tlsCertificateProviderInstance") else "tls"
