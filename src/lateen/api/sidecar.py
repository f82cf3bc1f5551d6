"""View of a Sidecar: what a workload's proxy takes, and what it may reach.

Source: istio/api `networking/v1alpha3/sidecar.proto`.
"""

from typing import Literal

from lateen.api.core import ObjectMeta
from lateen.api.networking import Destination, NetworkingWorkloadSelector
from lateen.api.policy_target import IstioStatus
from lateen.api.tls_settings import ServerTLSSettings
from lateen.api.traffic_policy import ConnectionPoolSettings
from lateen.api.view import ProtoView, Required, UInt32

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


class SidecarPort(ProtoView, frozen=True, kw_only=True):
    """A port that the proxy listens on."""

    number: UInt32 = 0
    """Port number."""
    protocol: str = ""
    """HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS."""
    name: str = ""
    """Name of the port."""
    target_port: UInt32 = 0
    """Without effect."""


class IstioIngressListener(ProtoView, frozen=True, kw_only=True):
    """Traffic that the proxy takes for the workload."""

    port: Required[SidecarPort] = SidecarPort()
    """Where it listens."""
    bind: str = ""
    """Address it listens on."""
    capture_mode: CaptureMode = "DEFAULT"
    """How traffic gets there."""
    default_endpoint: str = ""
    """Where the application listens: `127.0.0.1:PORT`, `0.0.0.0:PORT` or `unix:///path`."""
    tls: ServerTLSSettings | None = None
    """TLS that clients outside the mesh use."""
    connection_pool: ConnectionPoolSettings | None = None
    """Limits of connections to the application."""


class IstioEgressListener(ProtoView, frozen=True, kw_only=True):
    """Traffic that the proxy sends for the workload."""

    port: SidecarPort | None = None
    """Port; unset covers all."""
    bind: str = ""
    """Address it listens on."""
    capture_mode: CaptureMode = "DEFAULT"
    """How traffic gets there."""
    hosts: Required[tuple[str, ...]] = ()
    """Services it may reach, as `namespace/name`; both sides may be `*`."""


class OutboundTrafficPolicy(ProtoView, frozen=True, kw_only=True):
    """What happens to traffic for unknown hosts."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] = "REGISTRY_ONLY"
    """Whether it is refused or passed on."""
    egress_proxy: Destination | None = None
    """Where it is sent."""


class SidecarSpec(ProtoView, frozen=True, kw_only=True):
    """Listeners of the proxies that the selector finds."""

    workload_selector: NetworkingWorkloadSelector | None = None
    """The workloads it applies to; none means the namespace, or the mesh in the root namespace."""
    ingress: tuple[IstioIngressListener, ...] = ()
    """What they take; none means what Services and ports say."""
    egress: tuple[IstioEgressListener, ...] = ()
    """What they reach; none means everything that is visible."""
    inbound_connection_pool: ConnectionPoolSettings | None = None
    """Limits of connections to the application."""
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    """Traffic for unknown hosts; unset follows the mesh."""


class Sidecar(ProtoView, frozen=True, kw_only=True):
    """A Sidecar."""

    metadata: ObjectMeta = ObjectMeta()
    spec: SidecarSpec = SidecarSpec()
    status: IstioStatus = IstioStatus()
