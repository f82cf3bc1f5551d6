"""View of a Pod: specification and status.

Flow: JSON document -> `codec.decode(document, Pod)`.
Source: Kubernetes API reference v1.34, `core/v1` Pod. Where the view differs: scheduling fields other
than the node's name are left out, because the embedded cluster has one node.
"""

from collections.abc import Mapping

from msgspec import field

from lateen.api.container import Container
from lateen.api.core import Condition, LocalObjectReference, ObjectMeta
from lateen.api.view import View
from lateen.api.volume import Volume


class HostAlias(View, frozen=True, kw_only=True):
    """An extra line of /etc/hosts."""

    ip: str = ""
    hostnames: tuple[str, ...] = ()


class PodDnsOption(View, frozen=True, kw_only=True):
    """An option of resolv.conf."""

    name: str = ""
    value: str | None = None


class PodDnsConfig(View, frozen=True, kw_only=True):
    """Additions to resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[PodDnsOption, ...] = ()


class Sysctl(View, frozen=True, kw_only=True):
    """A kernel parameter of the pod's namespaces."""

    name: str = ""
    value: str = ""


class PodSecurityContext(View, frozen=True, kw_only=True):
    """Rights of all containers of a pod."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()


class PodReadinessGate(View, frozen=True, kw_only=True):
    """A further condition that a pod needs to be ready."""

    condition_type: str = ""


class PodSpec(View, frozen=True, kw_only=True):
    """What a pod runs."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_name: str = ""
    node_selector: Mapping[str, str] = {}
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    host_network: bool = False
    host_pid: bool = field(name="hostPID", default=False)
    hostname: str = ""
    subdomain: str = ""
    set_hostname_as_fqdn: bool = field(name="setHostnameAsFQDN", default=False)
    host_aliases: tuple[HostAlias, ...] = ()
    dns_policy: str = "ClusterFirst"
    dns_config: PodDnsConfig | None = None
    security_context: PodSecurityContext | None = None
    share_process_namespace: bool = False
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    enable_service_links: bool = True


class ContainerStateRunning(View, frozen=True, kw_only=True):
    """Since when a container runs."""

    started_at: str | None = None


class ContainerStateTerminated(View, frozen=True, kw_only=True):
    """How a container ended."""

    exit_code: int = 0
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    container_id: str = field(name="containerID", default="")


class ContainerStateWaiting(View, frozen=True, kw_only=True):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class ContainerState(View, frozen=True, kw_only=True):
    """Waiting, running or terminated: one of them is set."""

    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class ContainerStatus(View, frozen=True, kw_only=True):
    """What the node says of a container."""

    name: str = ""
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    image_id: str = field(name="imageID", default="")
    container_id: str = field(name="containerID", default="")


class PodIp(View, frozen=True, kw_only=True):
    """One address of a pod."""

    ip: str = ""


class PodStatus(View, frozen=True, kw_only=True):
    """What the node says of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    pod_ip: str = field(name="podIP", default="")
    pod_ips: tuple[PodIp, ...] = field(name="podIPs", default=())
    host_ip: str = field(name="hostIP", default="")
    start_time: str | None = None
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    qos_class: str = ""


class Pod(View, frozen=True, kw_only=True):
    """A pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodTemplateSpec(View, frozen=True, kw_only=True):
    """What the pods of a workload look like."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
