"""View of a VirtualService: which traffic to which hosts goes where.

Flow: JSON document -> `codec.decode(document, VirtualService)`.
Source: istio/api `networking/v1alpha3/virtual_service.proto`.
"""

from collections.abc import Mapping

from lateen.api.core import ObjectMeta
from lateen.api.http_route import HTTPRoute
from lateen.api.networking import Destination, ExportTo
from lateen.api.policy_target import IstioStatus
from lateen.api.view import ProtoView, Required, UInt32, Weight


class RouteDestination(ProtoView, frozen=True, kw_only=True):
    """One destination of a TCP or TLS route and its share."""

    destination: Required[Destination] = Destination()
    """Where connections go."""
    weight: Weight = 0
    """Share, relative to the sum of the weights; a lone destination gets all."""


class L4MatchAttributes(ProtoView, frozen=True, kw_only=True):
    """Matches a connection when all fields that are set match."""

    destination_subnets: tuple[str, ...] = ()
    """Addresses and CIDRs of the destination."""
    port: UInt32 = 0
    """Port that the client addressed."""
    source_subnet: str = ""
    """Older field without effect."""
    source_labels: Mapping[str, str] = {}
    """Labels of the client's pod."""
    gateways: tuple[str, ...] = ()
    """Gateways it is meant for; replaces those of the VirtualService."""
    source_namespace: str = ""
    """Namespace of the client's pod."""


class TCPRoute(ProtoView, frozen=True, kw_only=True):
    """Connections that match, and where they go."""

    match: tuple[L4MatchAttributes, ...] = ()
    """Alternatives; none matches everything."""
    route: tuple[RouteDestination, ...] = ()
    """Destinations with their shares."""


class TLSMatchAttributes(ProtoView, frozen=True, kw_only=True):
    """Matches a TLS connection when all fields that are set match."""

    sni_hosts: Required[tuple[str, ...]] = ()
    """Server names of the handshake; each must be covered by the hosts of the VirtualService."""
    destination_subnets: tuple[str, ...] = ()
    """Addresses and CIDRs of the destination."""
    port: UInt32 = 0
    """Port that the client addressed."""
    source_labels: Mapping[str, str] = {}
    """Labels of the client's pod."""
    gateways: tuple[str, ...] = ()
    """Gateways it is meant for; replaces those of the VirtualService."""
    source_namespace: str = ""
    """Namespace of the client's pod."""


class TLSRoute(ProtoView, frozen=True, kw_only=True):
    """TLS connections that match, and where they go without being decrypted."""

    match: Required[tuple[TLSMatchAttributes, ...]] = ()
    """Alternatives."""
    route: tuple[RouteDestination, ...] = ()
    """Destinations with their shares."""


class VirtualServiceSpec(ProtoView, frozen=True, kw_only=True):
    """Routes for traffic to some hosts."""

    hosts: tuple[str, ...] = ()
    """Hosts that clients address: names of services, DNS names, `*.example.com`, addresses."""
    gateways: tuple[str, ...] = ()
    """Gateways whose traffic it routes; `mesh` stands for sidecars and is the default."""
    http: tuple[HTTPRoute, ...] = ()
    """Routes for HTTP, in order."""
    tls: tuple[TLSRoute, ...] = ()
    """Routes for TLS that is not decrypted, in order."""
    tcp: tuple[TCPRoute, ...] = ()
    """Routes for other TCP, in order."""
    export_to: ExportTo = ()
    """Namespaces that it is visible in."""


class VirtualService(ProtoView, frozen=True, kw_only=True):
    """A VirtualService."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VirtualServiceSpec = VirtualServiceSpec()
    status: IstioStatus = IstioStatus()
