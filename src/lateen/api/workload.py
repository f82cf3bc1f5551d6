"""Views of WorkloadEntry and WorkloadGroup: workloads that run outside of Kubernetes pods.

Source: istio/api `networking/v1alpha3/workload_entry.proto`, `workload_group.proto`.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from lateen.api.core import ObjectMeta
from lateen.api.policy_target import IstioStatus
from lateen.api.view import ProtoView, Required, Text, UInt32

NonNegative = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class WorkloadEntrySpec(ProtoView, frozen=True, kw_only=True):
    """One workload: where it is and what it is."""

    address: Annotated[str, Meta(max_length=256)] = ""
    """IP address, DNS name or `unix://` path."""
    ports: Annotated[Mapping[str, UInt32], Meta(max_length=128)] = {}
    """Name of the service's port -> the workload's own port."""
    labels: Annotated[Mapping[str, str], Meta(max_length=256)] = {}
    """Labels, as a pod would have them."""
    network: Annotated[str, Meta(max_length=2048)] = ""
    """Network it is in."""
    locality: Annotated[str, Meta(max_length=2048)] = ""
    """Place, as `region/zone/subzone`."""
    weight: UInt32 = 0
    """Share of traffic relative to the others."""
    service_account: Annotated[str, Meta(max_length=253)] = ""
    """Service account it runs as."""


class WorkloadEntry(ProtoView, frozen=True, kw_only=True):
    """A WorkloadEntry."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Required[WorkloadEntrySpec] = WorkloadEntrySpec()
    status: IstioStatus = IstioStatus()


class WorkloadGroupMeta(ProtoView, frozen=True, kw_only=True):
    """Metadata of entries that register themselves."""

    labels: Annotated[Mapping[str, str], Meta(max_length=256)] = {}
    """Labels."""
    annotations: Annotated[Mapping[str, str], Meta(max_length=256)] = {}
    """Annotations."""


class HTTPHeader(ProtoView, frozen=True, kw_only=True):
    """A header of a probe's request."""

    name: Annotated[str, Meta(pattern="^[-_A-Za-z0-9]+$")] = ""
    """Name."""
    value: str = ""
    """Value."""


class HTTPHealthCheckConfig(ProtoView, frozen=True, kw_only=True):
    """A probe by HTTP."""

    path: str = ""
    """Path."""
    port: Required[UInt32] = 0
    """Port."""
    host: str = ""
    """Host; the workload's own address unless set."""
    scheme: str = ""
    """HTTP or HTTPS."""
    http_headers: tuple[HTTPHeader, ...] = ()
    """Headers of the request."""


class TCPHealthCheckConfig(ProtoView, frozen=True, kw_only=True):
    """A probe by connecting."""

    host: str = ""
    """Host; localhost unless set."""
    port: Required[UInt32] = 0
    """Port."""


class ExecHealthCheckConfig(ProtoView, frozen=True, kw_only=True):
    """A probe by a command."""

    command: Required[tuple[Text, ...]] = ()
    """Command and arguments."""


class GrpcHealthCheckConfig(ProtoView, frozen=True, kw_only=True):
    """A probe by grpc.health.v1."""

    port: UInt32 = 0
    """Port."""
    service: str = ""
    """Name of the service asked for."""


class ReadinessProbe(ProtoView, frozen=True, kw_only=True):
    """How the agent finds out whether the workload is ready."""

    ONE_OF = (("http_get", "tcp_socket", "exec", "grpc"),)

    initial_delay_seconds: NonNegative = 0
    """Pause before the first probe."""
    timeout_seconds: NonNegative = 0
    """Time for each probe; 1 unless set."""
    period_seconds: NonNegative = 0
    """Time between probes; 10 unless set."""
    success_threshold: NonNegative = 0
    """Successes in a row that make it ready; 1 unless set."""
    failure_threshold: NonNegative = 0
    """Failures in a row that make it not ready; 3 unless set."""
    http_get: HTTPHealthCheckConfig | None = None
    """HTTP request."""
    tcp_socket: TCPHealthCheckConfig | None = None
    """TCP connection."""
    exec: ExecHealthCheckConfig | None = None
    """Command."""
    grpc: GrpcHealthCheckConfig | None = None
    """gRPC call."""


class WorkloadGroupSpec(ProtoView, frozen=True, kw_only=True):
    """What the workloads of a group have in common."""

    metadata: WorkloadGroupMeta | None = None
    """Metadata of their entries."""
    template: Required[WorkloadEntrySpec] = WorkloadEntrySpec()
    """Their entries, but for the address."""
    probe: ReadinessProbe | None = None
    """How readiness is found out."""


class WorkloadGroup(ProtoView, frozen=True, kw_only=True):
    """A WorkloadGroup."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Required[WorkloadGroupSpec] = WorkloadGroupSpec()
    status: IstioStatus = IstioStatus()
