"""The names that parts of a mesh call each other by, and their text forms.

Flow: parts -> name -> parts; every `parse_` inverts its `format_`. Names that users, Kiali and dashboards
parse keep Istio's exact form: clusters are `direction|port|subset|host` (pilot/pkg/model, BuildSubsetKey),
services `name.namespace.svc.domain` (Kubernetes DNS specification).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, NewType

Hostname = NewType("Hostname", str)
ClusterName = NewType("ClusterName", str)
SpiffeUri = NewType("SpiffeUri", str)
Version = NewType("Version", str)
Nonce = NewType("Nonce", str)

Direction = Literal["inbound", "outbound"]

#: The DNS suffix of services; the embedded cluster, discovery and pods' resolv.conf use this value.
CLUSTER_DOMAIN = "cluster.local"
#: The trust domain of SPIFFE ids; Citadel and the agent use this value.
TRUST_DOMAIN = "cluster.local"


class ObjectRef(NamedTuple):
    """What names a Kubernetes object for a user; `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class ClusterParts(NamedTuple):
    """The four parts of an Istio cluster name; subset and host may be empty."""

    direction: Direction
    port: int
    subset: str
    host: Hostname


def format_cluster_name(direction: Direction, port: int, subset: str, host: str) -> ClusterName:
    """`outbound|9080|v1|reviews.default.svc.cluster.local`."""
    return ClusterName(f"{direction}|{port}|{subset}|{host}")


def parse_cluster_name(name: str) -> ClusterParts | None:
    """The parts of an inbound or outbound cluster name; None for names without parts (`PassthroughCluster`)."""
    parts = name.split("|")
    if len(parts) != 4 or not parts[1].isascii() or not parts[1].isdigit():
        return None
    port = int(parts[1])
    match parts[0]:
        case "inbound":
            return ClusterParts("inbound", port, parts[2], Hostname(parts[3]))
        case "outbound":
            return ClusterParts("outbound", port, parts[2], Hostname(parts[3]))
        case _:
            return None


def service_hostname(name: str, namespace: str, domain: str = CLUSTER_DOMAIN) -> Hostname:
    """The fully qualified host name of a Kubernetes Service."""
    return Hostname(f"{name}.{namespace}.svc.{domain}")
