"""Views of a container: command, ports, environment, probes, lifecycle, mounts, security.

Part of `pod.Pod`. Source: Kubernetes API reference v1.34, `core/v1` Container.
"""

from collections.abc import Mapping

from msgspec import field

from lateen.api.view import View


class ContainerPort(View, frozen=True, kw_only=True):
    """A port that a container says it listens on."""

    name: str = ""
    container_port: int = 0
    host_port: int | None = None
    host_ip: str = field(name="hostIP", default="")
    protocol: str = "TCP"


class KeySelector(View, frozen=True, kw_only=True):
    """A key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class ObjectFieldSelector(View, frozen=True, kw_only=True):
    """A field of the pod, such as `status.podIP`."""

    api_version: str = "v1"
    field_path: str = ""


class ResourceFieldSelector(View, frozen=True, kw_only=True):
    """A resource of a container, such as `limits.cpu`."""

    container_name: str = ""
    resource: str = ""
    divisor: str | int | None = None


class EnvVarSource(View, frozen=True, kw_only=True):
    """Where the value of an environment variable comes from."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(View, frozen=True, kw_only=True):
    """An environment variable; `$(NAME)` in the value refers to earlier ones."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvFromReference(View, frozen=True, kw_only=True):
    """A ConfigMap or Secret whose keys all become environment variables."""

    name: str = ""
    optional: bool = False


class EnvFromSource(View, frozen=True, kw_only=True):
    """Many environment variables at once."""

    prefix: str = ""
    config_map_ref: EnvFromReference | None = None
    secret_ref: EnvFromReference | None = None


class VolumeMount(View, frozen=True, kw_only=True):
    """Where a volume of the pod appears in a container."""

    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False
    mount_propagation: str | None = None


class ExecAction(View, frozen=True, kw_only=True):
    """A command run inside the container."""

    command: tuple[str, ...] = ()


class HttpHeader(View, frozen=True, kw_only=True):
    """A header of a probe's request."""

    name: str = ""
    value: str = ""


class HttpGetAction(View, frozen=True, kw_only=True):
    """An HTTP request; any status from 200 to 399 is a success."""

    path: str = ""
    port: int | str = 0
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(View, frozen=True, kw_only=True):
    """A TCP connection."""

    port: int | str = 0
    host: str = ""


class GrpcAction(View, frozen=True, kw_only=True):
    """A call of grpc.health.v1."""

    port: int = 0
    service: str = ""


class SleepAction(View, frozen=True, kw_only=True):
    """A pause."""

    seconds: int = 0


class Probe(View, frozen=True, kw_only=True):
    """How to ask a container whether it started, lives or is ready."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(View, frozen=True, kw_only=True):
    """What to do at an edge of a container's life."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(View, frozen=True, kw_only=True):
    """Hooks after start and before stop."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str | None = None


class Capabilities(View, frozen=True, kw_only=True):
    """Linux capabilities to add or drop."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(View, frozen=True, kw_only=True):
    """Rights of one container; unset fields fall back to the pod's."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None


class ResourceRequirements(View, frozen=True, kw_only=True):
    """Requests and limits as quantities."""

    requests: Mapping[str, str | int | float] = {}
    limits: Mapping[str, str | int | float] = {}


class Container(View, frozen=True, kw_only=True):
    """A container of a pod."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    security_context: SecurityContext | None = None
    restart_policy: str | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
