"""The rows of the mesh's input tables: of each object, what translation reads and nothing else.

Kubernetes or Istio document -> row, or None when the document cannot be read.

Invariants: rows are immutable, and two documents that differ only in what is not read here (status, managed fields,
resource version) give equal rows, so committing the second one changes nothing. A PeerAuthentication that cannot
be read becomes STRICT rather than vanish: a broken security policy denies.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import msgspec

from lateen.api.codec import decode
from lateen.api.core import ObjectMeta, Service
from lateen.api.discovery import SERVICE_NAME_LABEL, EndpointSlice
from lateen.api.objects import annotations_of, metadata_of
from lateen.api.pod import Pod, PodSpec
from lateen.api.security import PeerAuthentication
from lateen.base.names import ObjectRef
from lateen.mesh.protocol import Protocol, select_protocol

EXPORT_TO_ANNOTATION = "networking.istio.io/exportTo"
PORT_TRANSLATION_OFF_LABEL = "experimental.istio.io/disable-gateway-port-translation"
TLS_MODE_LABEL = "security.istio.io/tlsMode"  # the injector writes it; `istio` means a sidecar takes mutual TLS.
PROXY_CONTAINER = "istio-proxy"  # the injector and the node use this name.

Labels = tuple[tuple[str, str], ...]
"""Labels as sorted pairs: hashable, so that they may be a query's argument."""


def sort_labels(labels: Mapping[str, str]) -> Labels:
    """Return labels as sorted pairs."""
    return tuple(sorted(labels.items()))


class EntryHost(NamedTuple):
    """What names a service that a ServiceEntry declares: the object, and one of its hosts."""

    kind: str
    namespace: str
    name: str
    host: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name} ({self.host})"


ServiceRef: TypeAlias = ObjectRef | EntryHost
"""What names a service: the Service object, or a ServiceEntry with one of its hosts."""


class Resolution(Enum):
    """How the backends of a service are found."""

    ENDPOINTS = "endpoints"
    """They are known, one by one."""
    DNS = "DNS"
    """By name, all addresses of the answer."""
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    """By name, one address of the answer at a time."""
    NONE = "none"
    """Not at all: the connection goes where the app sent it."""


class Port(msgspec.Struct, frozen=True):
    """A port of a service, as clients know it."""

    name: str
    number: int
    protocol: Protocol


class ServicePort(Port, frozen=True):
    """A port of a Service; `target` is a number or the name of a container's port."""

    target: int | str


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A Service."""

    created: str
    addresses: tuple[str, ...]
    headless: bool
    external_name: str
    selector: Labels
    ports: tuple[ServicePort, ...]
    publish_not_ready: bool
    export_to: tuple[str, ...]
    port_translation: bool = True
    """Whether a Gateway that names a port of it means the container's."""
    host: str = ""
    """The host, of a ServiceEntry's."""
    resolution: Resolution = Resolution.ENDPOINTS
    external: bool = False
    """Whether it is outside of the mesh, and so without mutual TLS."""
    endpoints: tuple[EntryEndpoint, ...] = ()
    """Backends that the object itself lists."""
    subject_alt_names: tuple[str, ...] = ()


class EntryEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A backend that a ServiceEntry or a WorkloadEntry lists; `ports` are (name of the service's port, number)."""

    address: str
    ports: tuple[tuple[str, int], ...] = ()
    labels: Labels = ()
    locality: str = ""
    weight: int = 0
    service_account: str = ""
    mutual_tls: bool = False


class SliceEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of a slice; `pod` is empty when none is behind it."""

    address: str
    ready: bool
    pod: str


class EndpointSliceRow(msgspec.Struct, frozen=True, kw_only=True):
    """An EndpointSlice; `ports` are (name, number)."""

    service: str
    ports: tuple[tuple[str, int], ...]
    endpoints: tuple[SliceEndpoint, ...]


class PodRow(msgspec.Struct, frozen=True, kw_only=True):
    """A Pod; `ports` are its containers' named ports as (name, number), of which the first counts."""

    labels: Labels
    addresses: tuple[str, ...]
    service_account: str
    workload: str
    ports: tuple[tuple[str, int], ...]
    takes_mutual_tls: bool


class PeerAuthenticationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A PeerAuthentication; a mode of None inherits, an empty selector means the whole namespace."""

    created: str
    selector: Labels
    mode: str | None
    ports: tuple[tuple[int, str | None], ...]


def build_service_row(document: Mapping[str, Any]) -> ServiceRow | None:
    """Return the row of a Service."""
    service = decode(document, Service).value
    if service is None:
        return None
    spec = service.spec
    addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    external = spec.type == "ExternalName"
    return ServiceRow(
        created=service.metadata.creation_timestamp or "",
        addresses=() if external else tuple(address for address in addresses if address != "None"),
        headless="None" in addresses and not external,
        external_name=spec.external_name if external else "",
        selector=sort_labels(spec.selector or {}),
        ports=tuple(
            ServicePort(
                port.name,
                port.port,
                select_protocol(port.port, port.name, port.app_protocol, port.protocol),
                port.target_port or port.port,
            )
            for port in spec.ports
            if port.protocol != "SCTP"
        ),
        publish_not_ready=spec.publish_not_ready_addresses,
        port_translation=PORT_TRANSLATION_OFF_LABEL not in service.metadata.labels,
        resolution=Resolution.NONE if "None" in addresses and not external else Resolution.ENDPOINTS,
        export_to=_split(annotations_of(document).get(EXPORT_TO_ANNOTATION, "")),
    )


def build_slice_row(document: Mapping[str, Any]) -> EndpointSliceRow | None:
    """Return the row of an EndpointSlice; a slice of names, or of no Service, has none."""
    found = decode(document, EndpointSlice).value
    service = "" if found is None else found.metadata.labels.get(SERVICE_NAME_LABEL, "")
    if found is None or not service or found.address_type == "FQDN":
        return None
    return EndpointSliceRow(
        service=service,
        ports=tuple((port.name, port.port) for port in found.ports if port.port is not None and port.protocol == "TCP"),
        endpoints=tuple(
            SliceEndpoint(
                address=endpoint.addresses[0],
                ready=endpoint.conditions.ready is not False,
                pod=endpoint.target_ref.name
                if endpoint.target_ref is not None and endpoint.target_ref.kind == "Pod"
                else "",
            )
            for endpoint in found.endpoints
            if endpoint.addresses
        ),
    )


def build_pod_row(document: Mapping[str, Any]) -> PodRow | None:
    """Return the row of a Pod; one that has ended, or shares the node's network, has none."""
    pod = decode(document, Pod).value
    if pod is None or pod.status.phase in {"Succeeded", "Failed"} or pod.spec.host_network:
        return None
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    addresses = [address.ip for address in pod.status.pod_ips] or [pod.status.pod_ip]
    return PodRow(
        labels=sort_labels(pod.metadata.labels),
        addresses=tuple(address for address in addresses if address),
        service_account=pod.spec.service_account_name or "default",
        workload=_find_workload(pod.metadata),
        ports=tuple(
            (port.name, port.container_port) for container in containers for port in container.ports if port.name
        ),
        takes_mutual_tls=_takes_mutual_tls(pod.metadata.labels, pod.spec),
    )


def build_peer_authentication_row(document: Mapping[str, Any]) -> PeerAuthenticationRow:
    """Return the row of a PeerAuthentication; STRICT when it cannot be read."""
    found = decode(document, PeerAuthentication).value
    if found is None:
        created = metadata_of(document).get("creationTimestamp")
        selector = read_selector(document)
        return PeerAuthenticationRow(created=str(created or ""), selector=selector, mode="STRICT", ports=())
    spec = found.spec
    ports = [
        (int(port), _inherit(mutual.mode)) for port, mutual in spec.port_level_mtls.items() if str(port).isdecimal()
    ]
    return PeerAuthenticationRow(
        created=found.metadata.creation_timestamp or "",
        selector=sort_labels(spec.selector.match_labels if spec.selector is not None else {}),
        mode=_inherit(spec.mtls.mode) if spec.mtls is not None else None,
        ports=tuple(sorted(ports)),
    )


def _inherit(mode: str) -> str | None:
    return None if mode == "UNSET" else mode


def _split(text: str) -> tuple[str, ...]:
    return tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))


def read_selector(document: Mapping[str, Any]) -> Labels:
    """Return the selector of a document that its type does not fit, as far as it is one."""
    try:
        return sort_labels(msgspec.convert(document["spec"]["selector"]["matchLabels"], dict[str, str]))
    except (KeyError, TypeError, msgspec.ValidationError):
        return ()


def _takes_mutual_tls(labels: Mapping[str, str], spec: PodSpec) -> bool:
    """Whether a sidecar stands before the pod; a proxy without an app beside it is a gateway and takes no mesh TLS."""
    if TLS_MODE_LABEL in labels:
        return labels[TLS_MODE_LABEL] == "istio"
    names = [container.name for container in spec.containers]
    proxies = [container.name for container in (*spec.init_containers, *spec.containers)]
    return PROXY_CONTAINER in proxies and names != [PROXY_CONTAINER]


def _find_workload(metadata: ObjectMeta) -> str:
    """Return the Deployment, StatefulSet, Job or DaemonSet behind a pod, or the pod itself."""
    owner = next((owner for owner in metadata.owner_references if owner.controller), None)
    if owner is None:
        return metadata.name
    pod_hash = metadata.labels.get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and pod_hash:
        return owner.name.removesuffix(f"-{pod_hash}")
    return owner.name
