"""The environment of `istio-proxy`: what pilot-agent makes node metadata and its own settings of.

Flow: pod + workload + settings -> list of variables in the order of Istio's injection template.
Source: `injection-template.yaml` and `gateway-injection-template.yaml` of Istio's chart istio-discovery.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lateen.api.objects import labels_of
from lateen.inject.proxy_config import build_metadata_environment, format_proxy_config
from lateen.inject.settings import InjectionSettings
from lateen.inject.workload import Workload

NETWORK_LABEL = "topology.istio.io/network"
WORKLOAD_LABEL = "service.istio.io/workload-name"
PROXY_CONTAINER = "istio-proxy"
_PORT_FIELDS = ("name", "hostPort", "containerPort", "protocol", "hostIP")

Variable = dict[str, Any]


def build_environment(
    pod: Mapping[str, Any],
    workload: Workload,
    settings: InjectionSettings,
    proxy_config: Mapping[str, Any],
    *,
    mode: str,
    is_gateway: bool,
) -> list[Variable]:
    """The variables, in order."""
    containers = pod["spec"].get("containers") or ()
    memory: Variable = {
        "name": "GOMEMLIMIT",
        "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1"}},
    }
    apps = [_value("ISTIO_META_APP_CONTAINERS", ",".join(app_container_names(pod)))]
    return [
        _value("PILOT_CERT_PROVIDER", "istiod"),
        _value("CA_ADDR", settings.ca_address or f"istiod.{settings.namespace}.svc:15012"),
        _field("POD_NAME", "metadata.name"),
        _field("POD_NAMESPACE", "metadata.namespace"),
        _field("INSTANCE_IP", "status.podIP"),
        _field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        _field("HOST_IP", "status.hostIP"),
        {"name": "ISTIO_CPU_LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}},
        _value("PROXY_CONFIG", format_proxy_config(proxy_config)),
        _value("ISTIO_META_POD_PORTS", _format_ports(containers)),
        *((memory, *apps) if is_gateway else (*apps, memory)),
        *_build_compliance(settings),
        _value("ISTIO_META_CLUSTER_ID", settings.cluster_name),
        _field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        _value("ISTIO_META_INTERCEPTION_MODE", mode),
        *_build_mesh(pod, workload, settings),
        *build_metadata_environment(proxy_config),
    ]


def app_container_names(pod: Mapping[str, Any]) -> list[str]:
    """Names of the pod's own containers."""
    return [one["name"] for one in pod["spec"].get("containers") or () if one["name"] != PROXY_CONTAINER]


def _build_compliance(settings: InjectionSettings) -> list[Variable]:
    if not settings.compliance_policy:
        return []
    go = [_value("GODEBUG", "fips140=only")] if settings.compliance_policy == "fips-140-3" else []
    return [_value("COMPLIANCE_POLICY", settings.compliance_policy), *go]


def _build_mesh(pod: Mapping[str, Any], workload: Workload, settings: InjectionSettings) -> list[Variable]:
    network = labels_of(pod).get(NETWORK_LABEL) or settings.network
    return [
        _value("ISTIO_META_WORKLOAD_NAME", labels_of(pod).get(WORKLOAD_LABEL) or workload.name),
        _value("ISTIO_META_OWNER", workload.owner),
        _value("ISTIO_META_MESH_ID", settings.mesh_id or settings.trust_domain),
        _value("TRUST_DOMAIN", settings.trust_domain),
        *([_value("ISTIO_META_NETWORK", network)] if network else []),
    ]


def _format_ports(containers: Sequence[Mapping[str, Any]]) -> str:
    ports = [
        json.dumps({name: port[name] for name in _PORT_FIELDS if name in port}, separators=(",", ":"))
        for container in containers
        for port in container.get("ports") or ()
    ]
    lines = [f"    {',' if index else ''}{port}" for index, port in enumerate(ports)]
    return "\n".join(("[", *lines, "]"))


def _value(name: str, value: str) -> Variable:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> Variable:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
