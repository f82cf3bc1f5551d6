"""Views of what tells which addresses stand behind a Service: EndpointSlice, and the older Endpoints.

Flow: JSON document -> `codec.decode(document, EndpointSlice)`.
Source: Kubernetes API reference v1.34, `discovery.k8s.io/v1` and `core/v1`.
"""

from collections.abc import Mapping

from lateen.api.core import ObjectMeta, ObjectReference
from lateen.api.view import View

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
"""The label by which an EndpointSlice names its Service; the endpoint controller writes it."""


class EndpointConditions(View, frozen=True, kw_only=True):
    """Whether an endpoint takes traffic; absent `ready` counts as true, absent `serving` as `ready`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(View, frozen=True, kw_only=True):
    """A zone that should use an endpoint."""

    name: str = ""


class EndpointHints(View, frozen=True, kw_only=True):
    """Where an endpoint is best used."""

    for_zones: tuple[ForZone, ...] = ()


class Endpoint(View, frozen=True, kw_only=True):
    """One backend; its addresses are interchangeable, so readers use the first."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: ObjectReference | None = None
    deprecated_topology: Mapping[str, str] = {}
    hints: EndpointHints | None = None


class EndpointPort(View, frozen=True, kw_only=True):
    """A port that all endpoints of the slice share; its name is that of the Service's port."""

    name: str = ""
    protocol: str = "TCP"
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(View, frozen=True, kw_only=True):
    """A part of the endpoints of one Service."""

    metadata: ObjectMeta = ObjectMeta()
    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class EndpointAddress(View, frozen=True, kw_only=True):
    """One address of an Endpoints object."""

    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubset(View, frozen=True, kw_only=True):
    """Addresses that share ports."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(View, frozen=True, kw_only=True):
    """The endpoints of the Service of the same name, all in one object."""

    metadata: ObjectMeta = ObjectMeta()
    subsets: tuple[EndpointSubset, ...] = ()
