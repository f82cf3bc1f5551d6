"""Which pods stand behind a Service, and at which ports: Service, pods -> backends.

Source: Kubernetes' endpoint slice controller (staging/src/k8s.io/endpointslice) and the Service API reference. A pod
that ended or has no address is no backend. A named target port is looked up in each pod, so pods of one Service may
differ in their ports; a pod without the named port lacks that port only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from lateen.api.core import Service, ServicePort
from lateen.api.pod import Pod
from lateen.base.labels import matches

_FAMILY_OF_TYPE = {"IPv4": ".", "IPv6": ":"}


class PortNumber(NamedTuple):
    """A port of a Service as one pod serves it."""

    name: str
    protocol: str
    number: int
    app_protocol: str | None

    def document(self) -> dict[str, Any]:
        """The port as EndpointSlice and Endpoints both write it."""
        document: dict[str, Any] = {"name": self.name, "port": self.number, "protocol": self.protocol}
        if self.app_protocol:
            document["appProtocol"] = self.app_protocol
        return document


class Backend(NamedTuple):
    """A pod behind a Service, at one address."""

    pod: Pod
    address: str
    ports: tuple[PortNumber, ...]
    ready: bool
    serving: bool
    terminating: bool

    def target(self) -> dict[str, str]:
        """The reference to the pod."""
        metadata = self.pod.metadata
        return {"kind": "Pod", "namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid}


def is_selecting(service: Service) -> bool:
    """Whether the Service's endpoints are ours to write."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def is_headless(service: Service) -> bool:
    """Whether the Service has no address of its own."""
    return service.spec.cluster_ip in {"", "None"}


def selects(service: Service, labels: Mapping[str, str]) -> bool:
    """Whether a pod with these labels belongs to the Service."""
    return bool(service.spec.selector) and matches(service.spec.selector or {}, labels)


def find_backends(service: Service, pods: Iterable[Pod], address_type: str) -> Iterator[Backend]:
    """The backends with an address of the type (`IPv4`, `IPv6`), in the order of the pods."""
    for pod in pods:
        if not selects(service, pod.metadata.labels) or pod.status.phase in {"Succeeded", "Failed"}:
            continue
        addresses = [entry.ip for entry in pod.status.pod_ips] or [pod.status.pod_ip]
        address = next((ip for ip in addresses if _FAMILY_OF_TYPE[address_type] in ip), None)
        if address is None:
            continue
        terminating = pod.metadata.deletion_timestamp is not None
        serving = any(found.type == "Ready" and found.status == "True" for found in pod.status.conditions)
        yield Backend(
            pod=pod,
            address=address,
            ports=tuple(_find_ports(pod, service.spec.ports)),
            ready=service.spec.publish_not_ready_addresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        )


def _find_ports(pod: Pod, ports: Iterable[ServicePort]) -> Iterator[PortNumber]:
    for port in ports:
        number = _find_number(pod, port)
        if number is not None:
            yield PortNumber(port.name, port.protocol, number, port.app_protocol)


def _find_number(pod: Pod, port: ServicePort) -> int | None:
    if not isinstance(port.target_port, str):
        return port.target_port or port.port
    sidecars = (container for container in pod.spec.init_containers if container.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for declared in container.ports:
            if declared.name == port.target_port and declared.protocol == port.protocol:
                return declared.container_port
    return None
