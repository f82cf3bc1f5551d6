"""Views of EnvoyFilter and ProxyConfig: changes to what Envoy gets and how it starts.

Source: istio/api `networking/v1alpha3/envoy_filter.proto`, `networking/v1beta1/proxy_config.proto`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.core import ObjectMeta
from lateen.api.networking import NetworkingWorkloadSelector
from lateen.api.policy_target import IstioStatus, TargetReferences, WorkloadSelector
from lateen.api.view import Int32, Nullable, ProtoView, Struct, UInt32


class ProxyMatch(ProtoView, frozen=True, kw_only=True):
    """Which proxies."""

    proxy_version: str = ""
    """Expression that the proxy's Istio version must match."""
    metadata: Mapping[str, str] = {}
    """Node metadata that must be equal."""


class ClusterMatch(ProtoView, frozen=True, kw_only=True):
    """Which clusters."""

    port_number: UInt32 = 0
    """Port of the service."""
    service: str = ""
    """Host of the service."""
    subset: str = ""
    """Subset of the service."""
    name: str = ""
    """Name of the cluster."""


class RouteMatch(ProtoView, frozen=True, kw_only=True):
    """Which routes of a virtual host."""

    name: str = ""
    """Name of the route."""
    action: Literal["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] = "ANY"
    """What the route does."""


class VirtualHostMatch(ProtoView, frozen=True, kw_only=True):
    """Which virtual hosts of a route configuration."""

    name: str = ""
    """Name of the virtual host, as `host:port`."""
    route: RouteMatch | None = None
    """Routes in it."""
    domain_name: str = ""
    """One of its domains."""


class RouteConfigurationMatch(ProtoView, frozen=True, kw_only=True):
    """Which route configurations."""

    port_number: UInt32 = 0
    """Port."""
    port_name: str = ""
    """Name of the gateway's port."""
    gateway: str = ""
    """Gateway, as `namespace/name`."""
    vhost: VirtualHostMatch | None = None
    """Virtual hosts in it."""
    name: str = ""
    """Name of the route configuration."""


class SubFilterMatch(ProtoView, frozen=True, kw_only=True):
    """Which HTTP filter."""

    name: str = ""
    """Name of the filter."""


class FilterMatch(ProtoView, frozen=True, kw_only=True):
    """Which network filter."""

    name: str = ""
    """Name of the filter."""
    sub_filter: SubFilterMatch | None = None
    """HTTP filter in it."""


class FilterChainMatch(ProtoView, frozen=True, kw_only=True):
    """Which filter chains of a listener."""

    name: str = ""
    """Name of the chain."""
    sni: str = ""
    """Server name it matches."""
    transport_protocol: str = ""
    """Transport protocol it matches."""
    application_protocols: str = ""
    """ALPN values it matches, separated by commas."""
    filter: FilterMatch | None = None
    """Filter in it."""
    destination_port: UInt32 = 0
    """Destination port it matches."""
    transport_socket: str = ""
    """Name of its transport socket."""


class ListenerMatch(ProtoView, frozen=True, kw_only=True):
    """Which listeners."""

    port_number: UInt32 = 0
    """Port."""
    port_name: str = ""
    """Without effect."""
    filter_chain: FilterChainMatch | None = None
    """Filter chains in it."""
    listener_filter: str = ""
    """Listener filter in it."""
    name: str = ""
    """Name of the listener."""


class WaypointMatch(ProtoView, frozen=True, kw_only=True):
    """Which parts of a waypoint's listener."""

    port_number: UInt32 = 0
    """Port of the service."""
    filter: FilterMatch | None = None
    """Filter in it."""
    route: SubFilterMatch | None = None
    """Route in it."""


class EnvoyConfigObjectMatch(ProtoView, frozen=True, kw_only=True):
    """What a patch applies to."""

    ONE_OF = (("listener", "route_configuration", "cluster", "waypoint"),)

    context: Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"] = "ANY"
    """Which side of which proxies."""
    proxy: ProxyMatch | None = None
    """Proxies."""
    listener: ListenerMatch | None = None
    """Listeners."""
    route_configuration: RouteConfigurationMatch | None = None
    """Route configurations."""
    cluster: ClusterMatch | None = None
    """Clusters."""
    waypoint: WaypointMatch | None = None
    """Waypoints."""


ApplyTo = Literal[
    "INVALID",
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
]
PatchOperation = Literal[
    "INVALID",
    "MERGE",
    "ADD",
    "REMOVE",
    "INSERT_BEFORE",
    "INSERT_AFTER",
    "INSERT_FIRST",
    "REPLACE",
    "MERGE_AND_REPLACE_LIST",
]


class Patch(ProtoView, frozen=True, kw_only=True):
    """A change."""

    operation: PatchOperation = "INVALID"
    """What is done."""
    value: Struct | None = None
    """Envoy's own message as JSON."""
    filter_class: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"
    """Where in the order of filters an added one stands."""


class EnvoyConfigObjectPatch(ProtoView, frozen=True, kw_only=True):
    """One patch."""

    apply_to: ApplyTo = "INVALID"
    """Kind of the thing that is changed."""
    match: EnvoyConfigObjectMatch | None = None
    """Which of them."""
    patch: Patch | None = None
    """The change."""


class EnvoyFilterSpec(ProtoView, frozen=True, kw_only=True):
    """Patches in order."""

    workload_selector: NetworkingWorkloadSelector | None = None
    """The workloads it applies to; none means the namespace, or the mesh in the root namespace."""
    target_refs: TargetReferences = ()
    """The objects it is attached to."""
    config_patches: tuple[EnvoyConfigObjectPatch, ...] = ()
    """Patches, in order."""
    priority: Int32 = 0
    """Order among EnvoyFilters; lower comes first."""


class EnvoyFilter(ProtoView, frozen=True, kw_only=True):
    """An EnvoyFilter."""

    metadata: ObjectMeta = ObjectMeta()
    spec: EnvoyFilterSpec = EnvoyFilterSpec()
    status: IstioStatus = IstioStatus()


class ProxyImage(ProtoView, frozen=True, kw_only=True):
    """Variant of the proxy's image."""

    image_type: str = ""
    """default, debug or distroless."""


class ProxyConfigSpec(ProtoView, frozen=True, kw_only=True):
    """How proxies start; takes effect with the next pod."""

    selector: WorkloadSelector | None = None
    """The workloads it applies to; none means the namespace, or the mesh in the root namespace."""
    concurrency: Nullable[Annotated[int, Meta(ge=0, le=2**31 - 1)] | None] = None
    """Worker threads; 0 is one for each core."""
    environment_variables: Mapping[str, Annotated[str, Meta(max_length=2048)]] = {}
    """Further environment variables of the proxy."""
    image: ProxyImage | None = None
    """Image of the proxy."""


class ProxyConfig(ProtoView, frozen=True, kw_only=True):
    """A ProxyConfig."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ProxyConfigSpec = ProxyConfigSpec()
    status: IstioStatus = IstioStatus()
