"""Views of Kubernetes' core objects other than pods: metadata, namespaces, services, nodes, secrets.

Flow: JSON document -> `codec.decode(document, Service)`. The views name what Lateen reads; documents keep
every field. Times stay RFC 3339 text and quantities stay text, as the API has them.
Source: Kubernetes API reference v1.34, `core/v1` and `meta/v1`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import field

from lateen.api.view import View


class OwnerReference(View, frozen=True, kw_only=True):
    """The object that this one belongs to and is deleted with."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(View, frozen=True, kw_only=True):
    """Metadata of an object."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class ObjectReference(View, frozen=True, kw_only=True):
    """Another object, by name."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""
    resource_version: str = ""


class LabelSelectorRequirement(View, frozen=True, kw_only=True):
    """One set-based requirement: In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(View, frozen=True, kw_only=True):
    """Labels and requirements, all of which must hold; empty matches everything."""

    match_labels: Mapping[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class Condition(View, frozen=True, kw_only=True):
    """One observation in a status."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int | None = None


class NamespaceSpec(View, frozen=True, kw_only=True):
    """What keeps a namespace from vanishing."""

    finalizers: tuple[str, ...] = ()


class NamespaceStatus(View, frozen=True, kw_only=True):
    """Active or Terminating."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Namespace(View, frozen=True, kw_only=True):
    """A namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class ServicePort(View, frozen=True, kw_only=True):
    """A port of a Service; `target_port` is a number or the name of a container's port."""

    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    port: int = 0
    target_port: int | str | None = None
    node_port: int | None = None


class ServiceSpec(View, frozen=True, kw_only=True):
    """What a Service selects and how it is reached."""

    selector: Mapping[str, str] | None = None
    ports: tuple[ServicePort, ...] = ()
    type: str = "ClusterIP"
    cluster_ip: str = field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = field(name="clusterIPs", default=())
    external_ips: tuple[str, ...] = field(name="externalIPs", default=())
    external_name: str = ""
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str | None = None
    publish_not_ready_addresses: bool = False
    session_affinity: str = "None"
    traffic_distribution: str | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str = field(name="loadBalancerIP", default="")


class LoadBalancerIngress(View, frozen=True, kw_only=True):
    """An address at which a load balancer accepts traffic."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(View, frozen=True, kw_only=True):
    """The addresses of a load balancer."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(View, frozen=True, kw_only=True):
    """Where a Service is reachable from outside."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()
    conditions: tuple[Condition, ...] = ()


class Service(View, frozen=True, kw_only=True):
    """A Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class Secret(View, frozen=True, kw_only=True):
    """A Secret; values of `data` are base64 text."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = "Opaque"
    data: Mapping[str, str] = {}
    string_data: Mapping[str, str] = {}
    immutable: bool = False


class ConfigMap(View, frozen=True, kw_only=True):
    """A ConfigMap; values of `binary_data` are base64 text."""

    metadata: ObjectMeta = ObjectMeta()
    data: Mapping[str, str] = {}
    binary_data: Mapping[str, str] = {}
    immutable: bool = False


class LocalObjectReference(View, frozen=True, kw_only=True):
    """An object of the same namespace."""

    name: str = ""


class ServiceAccount(View, frozen=True, kw_only=True):
    """An identity that pods run as."""

    metadata: ObjectMeta = ObjectMeta()
    secrets: tuple[ObjectReference, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


class Taint(View, frozen=True, kw_only=True):
    """Why pods keep away from a node."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(View, frozen=True, kw_only=True):
    """Addresses and taints of a node."""

    pod_cidr: str = field(name="podCIDR", default="")
    pod_cidrs: tuple[str, ...] = field(name="podCIDRs", default=())
    provider_id: str = field(name="providerID", default="")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(View, frozen=True, kw_only=True):
    """An address of a node: InternalIP, ExternalIP or Hostname."""

    type: str = ""
    address: str = ""


class NodeStatus(View, frozen=True, kw_only=True):
    """What a node says of itself."""

    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()
    capacity: Mapping[str, Any] = {}
    allocatable: Mapping[str, Any] = {}
    node_info: Mapping[str, Any] = {}


class Node(View, frozen=True, kw_only=True):
    """A machine that runs pods."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()
