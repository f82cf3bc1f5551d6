"""What injection reads besides the pod: Istio's chart values and the mesh configuration, as one value.

Flow: `values` of ConfigMap `istio-sidecar-injector` (JSON) + mesh configuration (as a mapping) -> `InjectionSettings`.
A missing value has the default of Istio's chart, so that empty settings inject what a fresh Istio injects.
Source: Istio's `manifests/charts/istio-control/istio-discovery/values.yaml` and `pkg/kube/inject`. We differ: the hub
is Docker Hub's, which every tool knows; the embedded node runs its own Envoy for any `*/proxyv2:*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lateen.base.labels import Operator, Requirement, Selector

HUB = "docker.io/istio"
TAG = "1.30.0"
IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
"""Never injected, as Istio's `inject.IgnoredNamespaces`."""

DEFAULT_PROXY_CONFIG: Mapping[str, Any] = {
    "configPath": "./etc/istio/proxy",
    "binaryPath": "/usr/local/bin/envoy",
    "serviceCluster": "istio-proxy",
    "drainDuration": "45s",
    "discoveryAddress": "istiod.istio-system.svc:15012",
    "proxyAdminPort": 15000,
    "controlPlaneAuthPolicy": "MUTUAL_TLS",
    "statNameLength": 189,
    "statusPort": 15020,
    "terminationDrainDuration": "5s",
}
"""What PROXY_CONFIG leaves out; as `lateen.api.proxy_settings.ProxySettings`."""

_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2000m", "memory": "1024Mi"}}


@dataclass(frozen=True)
class ProxyValues:
    """The chart's `global.proxy`."""

    image: str = "proxyv2"
    init_image: str = "proxyv2"
    log_level: str = "warning"
    component_log_level: str = "misc:error"
    cluster_domain: str = "cluster.local"
    privileged: bool = False
    enable_core_dump: bool = False
    status_port: int = 15020
    startup_failure_threshold: int | None = 600
    readiness_initial_delay: int = 0
    readiness_period: int = 15
    readiness_failure_threshold: int = 4
    include_ip_ranges: str = "*"
    exclude_ip_ranges: str = ""
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    hold_application: bool = False
    lifecycle: Mapping[str, Any] | None = None
    resources: Mapping[str, Any] = field(default_factory=lambda: _RESOURCES)


@dataclass(frozen=True)
class InjectionSettings:
    """Everything that decides what is injected, and into which pods."""

    hub: str = HUB
    tag: str = TAG
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    revision: str = "default"
    policy: str = "enabled"
    never_selectors: tuple[Selector, ...] = ()
    always_selectors: tuple[Selector, ...] = ()
    enable_namespaces_by_default: bool = False
    injected_annotations: Mapping[str, str] = field(default_factory=dict)
    rewrite_probes: bool = True
    native_sidecars: bool = True
    proxy: ProxyValues = ProxyValues()
    namespace: str = "istio-system"
    cluster_name: str = "Kubernetes"
    network: str = ""
    mesh_id: str = ""
    trust_domain: str = "cluster.local"
    log_level: str = "default:info"
    log_as_json: bool = False
    cni: bool = False
    cni_provider: str = "default"
    compliance_policy: str = ""
    token_audience: str = "istio-ca"
    ca_address: str = ""
    prometheus_merge: bool = True
    proxy_config: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_PROXY_CONFIG)


def read_settings(
    values: Mapping[str, Any],
    mesh: Mapping[str, Any],
    *,
    policy: str = "enabled",
    native_sidecars: bool = True,
    compliance_policy: str = "",
) -> InjectionSettings:
    """The settings of chart values and a mesh configuration, both as their files have them."""
    shared, hook, cni = _map(values, "global"), _map(values, "sidecarInjectorWebhook"), _map(values, "pilot", "cni")
    trust_domain = mesh.get("trustDomain") or "cluster.local"
    return InjectionSettings(
        hub=shared.get("hub") or HUB,
        tag=str(shared.get("tag") or TAG),
        pull_policy=shared.get("imagePullPolicy") or "",
        pull_secrets=tuple(shared.get("imagePullSecrets") or ()),
        revision=values.get("revision") or "default",
        policy=policy,
        never_selectors=parse_selectors(hook.get("neverInjectSelector")),
        always_selectors=parse_selectors(hook.get("alwaysInjectSelector")),
        enable_namespaces_by_default=bool(hook.get("enableNamespacesByDefault")),
        injected_annotations=dict(hook.get("injectedAnnotations") or {}),
        rewrite_probes=hook.get("rewriteAppHTTPProbe") is not False,
        native_sidecars=native_sidecars,
        proxy=_read_proxy(_map(shared, "proxy"), _map(shared, "proxy_init")),
        namespace=shared.get("istioNamespace") or "istio-system",
        cluster_name=_map(shared, "multiCluster").get("clusterName") or "Kubernetes",
        network=shared.get("network") or "",
        mesh_id=shared.get("meshID") or "",
        trust_domain=trust_domain,
        log_level=_map(shared, "logging").get("level") or "default:info",
        log_as_json=bool(shared.get("logAsJson")),
        cni=bool(cni.get("enabled")),
        cni_provider=cni.get("provider") or "default",
        compliance_policy=compliance_policy,
        token_audience=_map(shared, "sds", "token").get("aud") or "istio-ca",
        ca_address=shared.get("caAddress") or "",
        prometheus_merge=mesh.get("enablePrometheusMerge") is not False,
        proxy_config={**DEFAULT_PROXY_CONFIG, **(mesh.get("defaultConfig") or {})},
    )


def _read_proxy(proxy: Mapping[str, Any], init: Mapping[str, Any]) -> ProxyValues:
    startup = _map(proxy, "startupProbe")
    enabled = startup.get("enabled") is not False
    return ProxyValues(
        image=proxy.get("image") or "proxyv2",
        init_image=init.get("image") or "proxyv2",
        log_level=proxy.get("logLevel") or "warning",
        component_log_level=proxy.get("componentLogLevel") or "misc:error",
        cluster_domain=proxy.get("clusterDomain") or "cluster.local",
        privileged=bool(proxy.get("privileged")),
        enable_core_dump=bool(proxy.get("enableCoreDump")),
        status_port=_number(proxy, "statusPort", 15020),
        startup_failure_threshold=_number(startup, "failureThreshold", 600) if enabled else None,
        readiness_initial_delay=_number(proxy, "readinessInitialDelaySeconds", 0),
        readiness_period=_number(proxy, "readinessPeriodSeconds", 15),
        readiness_failure_threshold=_number(proxy, "readinessFailureThreshold", 4),
        include_ip_ranges=_text(proxy, "includeIPRanges", "*"),
        exclude_ip_ranges=_text(proxy, "excludeIPRanges", ""),
        include_inbound_ports=_text(proxy, "includeInboundPorts", "*"),
        exclude_inbound_ports=_text(proxy, "excludeInboundPorts", ""),
        include_outbound_ports=_text(proxy, "includeOutboundPorts", ""),
        exclude_outbound_ports=_text(proxy, "excludeOutboundPorts", ""),
        hold_application=bool(proxy.get("holdApplicationUntilProxyStarts")),
        lifecycle=proxy.get("lifecycle"),
        resources=proxy["resources"] or {} if "resources" in proxy else _RESOURCES,
    )


def parse_selectors(selectors: Any) -> tuple[Selector, ...]:
    """Kubernetes label selectors, `matchLabels` and `matchExpressions`, in order."""
    return tuple(_parse_selector(each) for each in selectors or ())


def _parse_selector(document: Mapping[str, Any]) -> Selector:
    equal = [
        Requirement(key, Operator.IN, frozenset({value})) for key, value in (document.get("matchLabels") or {}).items()
    ]
    further = [
        Requirement(one["key"], Operator(one["operator"]), frozenset(one.get("values") or ()))
        for one in document.get("matchExpressions") or ()
    ]
    return Selector((*equal, *further))


def _map(values: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        values = values.get(name) or {}
    return values


def _number(values: Mapping[str, Any], name: str, default: int) -> int:
    found = values.get(name)
    return default if found is None else int(found)


def _text(values: Mapping[str, Any], name: str, default: str) -> str:
    found = values.get(name)
    return default if found is None else str(found)
