"""The containers that injection adds: `istio-init` (or `istio-validation`) and `istio-proxy`.

Flow: `Injection` (pod, workload, settings and what follows from them) -> containers as plain JSON.
Invariant: `istio-proxy` is a native sidecar (an init container that goes on running) unless the pod says otherwise: its
startup probe on 15021 holds back everything after it until it is ready. Source: Istio's injection templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lateen.api.objects import annotations_of, labels_of
from lateen.inject.environment import PROXY_CONTAINER, build_environment
from lateen.inject.proxy_config import build_metadata_environment, find_proxy_config
from lateen.inject.settings import InjectionSettings
from lateen.inject.traffic import INTERCEPTION_MODE, PROXY_USER, STATUS_PORT, build_arguments, read_number
from lateen.inject.volumes import build_mounts
from lateen.inject.workload import Workload

INIT, VALIDATION = "istio-init", "istio-validation"
NATIVE_SIDECAR = "sidecar.istio.io/nativeSidecar"
_RESOURCE_NOTES = (
    ("requests", "cpu", "sidecar.istio.io/proxyCPU"),
    ("requests", "memory", "sidecar.istio.io/proxyMemory"),
    ("limits", "cpu", "sidecar.istio.io/proxyCPULimit"),
    ("limits", "memory", "sidecar.istio.io/proxyMemoryLimit"),
)
_READY = {"path": "/healthz/ready", "port": 15021}

Document = dict[str, Any]


@dataclass(frozen=True)
class Injection:
    """One pod that is being injected, and what follows from its annotations."""

    pod: Mapping[str, Any]
    workload: Workload
    settings: InjectionSettings
    proxy_config: Mapping[str, Any]
    annotations: Mapping[str, str]
    user: int
    group: int

    @property
    def mode(self) -> str:
        """REDIRECT, TPROXY or NONE."""
        return self.annotations.get(INTERCEPTION_MODE) or self.proxy_config.get("interceptionMode") or "REDIRECT"

    @property
    def status_port(self) -> str:
        """The agent's port; "0" without one."""
        return str(read_number(self.annotations, STATUS_PORT, self.settings.proxy.status_port))

    @property
    def is_native(self) -> bool:
        """Whether the proxy becomes an init container that goes on running."""
        own = labels_of(self.pod).get(NATIVE_SIDECAR) or self.annotations.get(NATIVE_SIDECAR)
        return self.settings.native_sidecars if own is None else own == "true"

    @property
    def holds_application(self) -> bool:
        """Whether the app waits for a proxy that is no native sidecar."""
        own = self.proxy_config.get("holdApplicationUntilProxyStarts")
        return self.settings.proxy.hold_application if own is None else bool(own)


def begin(pod: Mapping[str, Any], workload: Workload, settings: InjectionSettings) -> Injection:
    """What the containers are built from; raises DataError for an annotation that cannot be read."""
    annotations = annotations_of(pod)
    every = (*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ()))
    own = next((one.get("securityContext") or {} for one in every if one["name"] == PROXY_CONTAINER), {})
    user, group = own.get("runAsUser"), own.get("runAsGroup")
    config = find_proxy_config(annotations, settings)
    return Injection(
        pod,
        workload,
        settings,
        config,
        annotations,
        PROXY_USER if user is None else user,
        PROXY_USER if group is None else group,
    )


def build_init(injection: Injection) -> Document | None:
    """The container that sets interception up, or checks it under a CNI plugin; None without interception."""
    settings = injection.settings
    if injection.mode == "NONE":
        return None
    arguments = build_arguments(
        injection.annotations,
        settings,
        mode=injection.mode,
        user=injection.user,
        status_port=injection.status_port,
    )
    metadata = build_metadata_environment(injection.proxy_config)
    return {
        "name": VALIDATION if settings.cni else INIT,
        "image": find_image(injection.annotations, settings, settings.proxy.init_image),
        **_pull_policy(settings),
        "args": arguments,
        **({"env": metadata} if metadata else {}),
        "resources": build_resources(injection.annotations, settings),
        "securityContext": _build_init_context(injection),
    }


def _build_init_context(injection: Injection) -> Document:
    settings = injection.settings
    capabilities: Document = {"drop": ["ALL"]}
    if not settings.cni:
        capabilities["add"] = ["NET_ADMIN", "NET_RAW"]
    return {
        "allowPrivilegeEscalation": settings.proxy.privileged,
        "privileged": settings.proxy.privileged,
        "capabilities": capabilities,
        "readOnlyRootFilesystem": settings.cni,
        "runAsGroup": injection.group if settings.cni else 0,
        "runAsUser": injection.user if settings.cni else 0,
        "runAsNonRoot": settings.cni,
    }


def build_sidecar(injection: Injection) -> Document:
    """`istio-proxy` beside an app."""
    settings = injection.settings
    return {
        **_build_common(injection, "sidecar"),
        **({"restartPolicy": "Always"} if injection.is_native else {}),
        **_build_lifecycle(injection),
        **_build_probes(injection, with_startup=True),
        "resources": build_resources(injection.annotations, settings),
        "securityContext": _build_sidecar_context(injection),
        "env": _environment(injection, is_gateway=False),
        "volumeMounts": build_mounts(injection.annotations, is_gateway=False),
    }


def build_gateway(injection: Injection) -> Document:
    """`istio-proxy` of a gateway, which is the pod's main container."""
    return {
        **_build_common(injection, "router"),
        **_build_probes(injection, with_startup=False),
        "securityContext": {"runAsUser": injection.user, "runAsGroup": injection.group},
        "env": _environment(injection, is_gateway=True),
        "volumeMounts": build_mounts(injection.annotations, is_gateway=True),
    }


def _environment(injection: Injection, *, is_gateway: bool) -> list[Document]:
    return build_environment(
        injection.pod,
        injection.workload,
        injection.settings,
        injection.proxy_config,
        mode=injection.mode,
        is_gateway=is_gateway,
    )


def _build_common(injection: Injection, proxy_type: str) -> Document:
    settings, notes = injection.settings, injection.annotations
    proxy = settings.proxy
    levels = (
        f"--proxyLogLevel={notes.get('sidecar.istio.io/logLevel') or proxy.log_level}",
        f"--proxyComponentLogLevel={notes.get('sidecar.istio.io/componentLogLevel') or proxy.component_log_level}",
        f"--log_output_level={notes.get('sidecar.istio.io/agentLogLevel') or settings.log_level}",
    )
    return {
        "name": PROXY_CONTAINER,
        "image": find_image(notes, settings, proxy.image),
        **_pull_policy(settings),
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "args": [
            *("proxy", proxy_type, "--domain", f"$(POD_NAMESPACE).svc.{proxy.cluster_domain}", *levels),
            *(["--log_as_json"] if settings.log_as_json else []),
        ],
    }


def _build_lifecycle(injection: Injection) -> Document:
    if injection.settings.proxy.lifecycle:
        return {"lifecycle": injection.settings.proxy.lifecycle}
    if injection.is_native:
        drain = ["pilot-agent", "request", f"--debug-port={injection.status_port}", "POST", "drain"]
        return {"lifecycle": {"preStop": {"exec": {"command": drain}}}}
    if injection.holds_application:
        return {"lifecycle": {"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}}
    return {}


def _build_probes(injection: Injection, *, with_startup: bool) -> Document:
    proxy, notes = injection.settings.proxy, injection.annotations
    if injection.status_port == "0":
        return {}

    def read(name: str, default: int) -> int:
        return read_number(notes, f"readiness.status.sidecar.istio.io/{name}", default)

    probes: Document = {
        "readinessProbe": {
            "httpGet": dict(_READY),
            "initialDelaySeconds": read("initialDelaySeconds", proxy.readiness_initial_delay),
            "periodSeconds": read("periodSeconds", proxy.readiness_period),
            "timeoutSeconds": 3,
            "failureThreshold": read("failureThreshold", proxy.readiness_failure_threshold),
        }
    }
    if with_startup and proxy.startup_failure_threshold is not None:
        probes["startupProbe"] = {
            "httpGet": dict(_READY),
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": proxy.startup_failure_threshold,
        }
    return probes


def _build_sidecar_context(injection: Injection) -> Document:
    proxy = injection.settings.proxy
    is_transparent = injection.mode == "TPROXY"
    capabilities: Document = {"drop": ["ALL"]}
    if is_transparent:
        capabilities["add"] = ["NET_ADMIN"]
    return {
        "allowPrivilegeEscalation": proxy.privileged,
        "capabilities": capabilities,
        "privileged": proxy.privileged,
        "readOnlyRootFilesystem": True,
        "runAsGroup": injection.group,
        "runAsNonRoot": not is_transparent,
        "runAsUser": 0 if is_transparent else injection.user,
    }


def build_resources(annotations: Mapping[str, str], settings: InjectionSettings) -> Document:
    """The annotations' resources, else the chart's: one annotation puts all of the chart's out of force."""
    own: Document = {}
    for group, name, annotation in _RESOURCE_NOTES:
        if annotation in annotations:
            own.setdefault(group, {})[name] = annotations[annotation]
    return own or {key: dict(value) for key, value in settings.proxy.resources.items() if value}


def find_image(annotations: Mapping[str, str], settings: InjectionSettings, name: str) -> str:
    """The image of a container; a name with a slash is an image already."""
    name = annotations.get("sidecar.istio.io/proxyImage") or name
    return name if "/" in name else f"{settings.hub}/{name}:{settings.tag}"


def _pull_policy(settings: InjectionSettings) -> Document:
    return {"imagePullPolicy": settings.pull_policy} if settings.pull_policy else {}
