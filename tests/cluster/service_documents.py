"""Documents of Services and EndpointSlices for tests, and a directory that holds them."""

from typing import Any

from lateen.api.objects import key_of
from lateen.cluster.service_directory import ENDPOINT_SLICE, NAMESPACE, SERVICE, ServiceDirectory

Document = dict[str, Any]

HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def service(name: str, cluster_ip: str = "None", *, ports: list[Document] | None = None, **spec: Any) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": cluster_ip, "ports": [HTTP] if ports is None else ports, **spec},
    }


def endpoint(address: str, hostname: str | None = None, **conditions: bool) -> Document:
    named = {} if hostname is None else {"hostname": hostname}
    return {"addresses": [address], "conditions": {"ready": True, **conditions}, **named}


def endpoint_slice(
    service_name: str, *endpoints: Document, name: str = "", ports: list[Document] | None = None, family: str = "IPv4"
) -> Document:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name or f"{service_name}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}] if ports is None else ports,
    }


def namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def directory_of(*documents: Document) -> ServiceDirectory:
    directory = ServiceDirectory()
    for document in (namespace("default"), *documents):
        put(directory, document)
    return directory


def put(directory: ServiceDirectory, document: Document) -> set[Any]:
    kind = {"Service": SERVICE, "EndpointSlice": ENDPOINT_SLICE, "Namespace": NAMESPACE}[document["kind"]]
    return directory.put(kind, key_of(document), document)
