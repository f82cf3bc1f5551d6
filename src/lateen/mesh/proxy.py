"""A proxy as it introduces itself: the `Node` of its first request.

(node id, node metadata) -> Proxy.

Invariants: a Proxy is hashable, since it is the argument of the outermost queries; what it says of itself counts only
until its pod is known, because labels may change while it is connected.
Source: Istio's pkg/model (node id `type~ip~id~domain`, metadata names).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, cast

import msgspec

from lateen.base.errors import DataError
from lateen.base.names import CLUSTER_DOMAIN, ObjectRef
from lateen.mesh.rows import Labels, sort_labels

ProxyType = Literal["sidecar", "router"]


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for configuration."""

    id: str
    """The node id as sent."""
    type: ProxyType
    namespace: str
    name: str
    """The pod's name."""
    addresses: tuple[str, ...]
    labels: Labels = ()
    service_account: str = "default"
    cluster_domain: str = CLUSTER_DOMAIN
    cluster_id: str = "Kubernetes"

    @property
    def pod(self) -> ObjectRef:
        """The pod that it stands before."""
        return ObjectRef("Pod", self.namespace, self.name)

    @classmethod
    def from_node(cls, node_id: str, metadata: Mapping[str, Any]) -> Self:
        """Return the proxy of a node id and its metadata as JSON; raises DataError for another kind of id."""
        parts = node_id.split("~")
        if len(parts) != 4 or parts[0] not in {"sidecar", "router"}:
            raise DataError(
                f"node id {node_id!r} is not of the form TYPE~IP~POD.NAMESPACE~DOMAIN",
                fix="start Envoy with the bootstrap that Lateen writes",
            )
        kind, address, workload, domain = parts
        name, _, namespace = workload.rpartition(".")
        addresses = _read_text(metadata, "INSTANCE_IPS").split(",")
        return cls(
            id=node_id,
            type=cast("ProxyType", kind),
            namespace=_read_text(metadata, "NAMESPACE") or namespace,
            name=name or workload,
            addresses=tuple(dict.fromkeys(text for text in (address, *addresses) if text)),
            labels=sort_labels(_read_labels(metadata)),
            service_account=_read_text(metadata, "SERVICE_ACCOUNT") or "default",
            cluster_domain=domain.partition(".svc.")[2] or CLUSTER_DOMAIN,
            cluster_id=_read_text(metadata, "CLUSTER_ID") or "Kubernetes",
        )


def _read_text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name)
    return value if isinstance(value, str) else ""


def _read_labels(metadata: Mapping[str, Any]) -> dict[str, str]:
    labels = metadata.get("LABELS")
    if not isinstance(labels, Mapping):
        return {}
    return {str(key): str(value) for key, value in labels.items()}
