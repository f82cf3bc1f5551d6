"""View of a ServiceEntry: a service that the platform does not know.

Flow: JSON document -> `codec.decode(document, ServiceEntry)`.
Source: istio/api `networking/v1alpha3/service_entry.proto`.
"""

from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.core import ObjectMeta
from lateen.api.networking import ExportTo, NetworkingWorkloadSelector
from lateen.api.policy_target import AnalysisMessage, IstioCondition
from lateen.api.view import Marker, ProtoView, Required, UInt32
from lateen.api.workload import WorkloadEntrySpec


class ServiceEntryPort(ProtoView, frozen=True, kw_only=True):
    """A port of the service."""

    number: Required[UInt32] = 0
    """Port that clients address."""
    protocol: Annotated[str, Meta(max_length=256)] = ""
    """HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS; unset is detected."""
    name: Required[Annotated[str, Meta(max_length=256)]] = ""
    """Name of the port."""
    target_port: UInt32 = 0
    """Port of the backends; that of clients unless set."""


class ServiceEntrySpec(ProtoView, frozen=True, kw_only=True):
    """Hosts, addresses, ports and backends of a service."""

    hosts: Required[Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]] = ()
    """Host names of the service."""
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=256)] = ()
    """Virtual addresses or CIDRs."""
    ports: Annotated[tuple[ServiceEntryPort, ...], Meta(max_length=256), Marker.LIST_MAP_BY_NAME] = ()
    """Ports."""
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    """Whether it is a part of the mesh, and so has mutual TLS."""
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = "NONE"
    """How backends are found."""
    endpoints: Annotated[tuple[WorkloadEntrySpec, ...], Meta(max_length=4096)] = ()
    """The backends."""
    workload_selector: NetworkingWorkloadSelector | None = None
    """Pods and workload entries that are the backends."""
    export_to: ExportTo = ()
    """Namespaces that it is visible in."""
    subject_alt_names: tuple[str, ...] = ()
    """Names, one of which the server certificate must carry."""


class ServiceEntryAddress(ProtoView, frozen=True, kw_only=True):
    """An address that was allocated."""

    value: str = ""
    """The address."""
    host: str = ""
    """The host it stands for."""


class ServiceEntryStatus(ProtoView, frozen=True, kw_only=True):
    """What controllers say of a ServiceEntry."""

    conditions: tuple[IstioCondition, ...] = ()
    """Observations."""
    validation_messages: tuple[AnalysisMessage, ...] = ()
    """Findings of the analysis."""
    observed_generation: int | str | None = None
    """The generation of the object that the status belongs to."""
    addresses: tuple[ServiceEntryAddress, ...] = ()
    """Addresses that were allocated."""


class ServiceEntry(ProtoView, frozen=True, kw_only=True):
    """A ServiceEntry."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Required[ServiceEntrySpec] = ServiceEntrySpec()
    status: ServiceEntryStatus = ServiceEntryStatus()
