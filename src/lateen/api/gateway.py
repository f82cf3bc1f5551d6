"""View of a Gateway: which ports, protocols and hosts a proxy at the edge of the mesh offers.

Flow: JSON document -> `codec.decode(document, Gateway)`.
Source: istio/api `networking/v1alpha3/gateway.proto`.
"""

from collections.abc import Mapping

from lateen.api.core import ObjectMeta
from lateen.api.policy_target import IstioStatus
from lateen.api.tls_settings import ServerTLSSettings
from lateen.api.view import ProtoView, Required, UInt32


class GatewayPort(ProtoView, frozen=True, kw_only=True):
    """A port of a gateway."""

    number: Required[UInt32] = 0
    """Port number; the Service's port of that number leads to the container's."""
    protocol: Required[str] = ""
    """HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS."""
    name: Required[str] = ""
    """Name, unique among the HTTPS servers of a port."""
    target_port: UInt32 = 0
    """Without effect on gateways."""


class Server(ProtoView, frozen=True, kw_only=True):
    """One port of a gateway and the hosts it serves."""

    name: str = ""
    """Name of the server."""
    port: Required[GatewayPort] = GatewayPort()
    """Where it listens."""
    bind: str = ""
    """Address it listens on; all unless set."""
    hosts: Required[tuple[str, ...]] = ()
    """Hosts, each as `name`, `namespace/name`, `./name` or `*/name`."""
    tls: ServerTLSSettings | None = None
    """TLS towards clients."""
    default_endpoint: str = ""
    """Local address that gets the traffic without routes."""


class GatewaySpec(ProtoView, frozen=True, kw_only=True):
    """Servers of the proxies that the selector finds."""

    servers: tuple[Server, ...] = ()
    """What they offer."""
    selector: Mapping[str, str] = {}
    """Labels of the gateway pods, in any namespace."""


class Gateway(ProtoView, frozen=True, kw_only=True):
    """A Gateway."""

    metadata: ObjectMeta = ObjectMeta()
    spec: GatewaySpec = GatewaySpec()
    status: IstioStatus = IstioStatus()
