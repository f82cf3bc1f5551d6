"""A pod's and a service's own lines: ports, revision, readiness, which proxy really runs, warnings.

Source: the output of `istioctl experimental describe`. We differ: the line `Proxy:` tells what runs whatever the image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lateen.api.objects import JsonObject
from lateen.cli.describe.policy import format_name, indent
from lateen.mesh.protocol import select_protocol

_PROXY_USER = 1337
_PROXY = "istio-proxy"
_SERVICE_LABELS = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_REVISION_LABELS = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")


def list_containers(pod: JsonObject) -> list[dict[str, Any]]:
    """Containers that go on running, sidecars of the newer kind among them."""
    spec = pod["spec"]
    sidecars = [each for each in spec.get("initContainers", ()) if each.get("restartPolicy") == "Always"]
    return [*spec.get("containers", ()), *sidecars]


def describe_pod(pod: JsonObject, namespace: str, proxy: str) -> list[str]:
    """The pod's lines; `proxy` is what runs beside it, empty for none."""
    name = format_name(pod, namespace)
    labels = pod["metadata"].get("labels", {})
    lines = [f"Pod: {name}", *indent([f"Pod Revision: {labels.get('istio.io/rev') or 'default'}"])]
    ports = [
        f"{port['containerPort']}{_format_transport(port)} ({each['name']})"
        for each in list_containers(pod)
        for port in each.get("ports", ())
    ]
    lines += indent([f"Pod Ports: {', '.join(ports)}" if ports else "Pod does not expose ports"])
    if proxy:
        lines += indent([f"Proxy: {proxy}"])
    phase = pod.get("status", {}).get("phase", "Pending")
    if phase != "Running":
        return [*lines, *indent([f"Pod is not Running ({phase})"])]
    statuses = pod["status"].get("containerStatuses", [])
    lines += [
        f"WARNING: Pod {name} Container {each['name']} NOT READY" for each in statuses if not each.get("ready", False)
    ]
    lines += _list_warnings(pod, name, labels, has_proxy=bool(proxy))
    return lines


def _format_transport(port: dict[str, Any]) -> str:
    transport = port.get("protocol", "TCP")
    return "" if transport == "TCP" else f"/{transport}"


def _list_warnings(pod: JsonObject, name: str, labels: dict[str, str], *, has_proxy: bool) -> Iterable[str]:
    for each in list_containers(pod):
        if each["name"] != _PROXY and each.get("securityContext", {}).get("runAsUser") == _PROXY_USER:
            yield f"WARNING: User ID (UID) {_PROXY_USER} is reserved for the sidecar proxy."
    if not has_proxy:
        yield f"WARNING: {name} is not part of mesh; no Istio sidecar"
        return
    for wanted, what in ((_SERVICE_LABELS, "app"), (_REVISION_LABELS, "version")):
        if not any(label in labels for label in wanted):
            yield f"Suggestion: add '{what}' label to pod for Istio telemetry."


def describe_service(service: JsonObject, pod: JsonObject, namespace: str) -> list[str]:
    """The service's ports, and which of the pod's each leads to."""
    lines = [f"Service: {format_name(service, namespace)}"]
    for port in service["spec"].get("ports", ()):
        if port.get("protocol", "TCP") != "TCP":
            continue
        target = find_target(port, pod)
        if target is None:
            lines += indent(
                [f"no suitable port for manifest: {port.get('targetPort')} of pod {pod['metadata']['name']}"]
            )
            continue
        lines += indent([f"Port: {port.get('name', '')} {port['port']}/{_protocol_of(port)} targets pod port {target}"])
    return lines


def _protocol_of(port: dict[str, Any]) -> str:
    protocol = select_protocol(port["port"], port.get("name", ""), port.get("appProtocol"))
    return "auto-detect" if protocol.is_detected else protocol.value


def find_target(port: dict[str, Any], pod: JsonObject) -> int | None:
    """The pod's port that a service's port leads to; None for a name that the pod does not have."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    return next(
        (
            int(each["containerPort"])
            for container in list_containers(pod)
            for each in container.get("ports", ())
            if each.get("name") == target
        ),
        None,
    )
