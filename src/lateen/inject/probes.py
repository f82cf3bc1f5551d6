"""Probes and lifecycle hooks of the app, turned to the agent on 15020, which asks the app from inside the pod.

Flow: containers -> containers with `/app-health/<container>/{livez,readyz,startupz}` and
`/app-lifecycle/<container>/{prestopz,poststartz}`, and the original probes by path (ISTIO_KUBE_APP_PROBERS).
Invariants: `exec` stays as it is; a port that no container names stays too, so that the pod fails as without a mesh.
Why: under STRICT mTLS the kubelet has no certificate. Source: Istio `pkg/kube/inject/app_probe.go`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lateen.inject.environment import PROXY_CONTAINER

REWRITE = "sidecar.istio.io/rewriteAppHTTPProbers"
VARIABLE = "ISTIO_KUBE_APP_PROBERS"
_PROBES = (("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz"))
_HOOKS = (("preStop", "prestopz"), ("postStart", "poststartz"))

Document = dict[str, Any]


def rewrite_container(container: Mapping[str, Any], status_port: int) -> tuple[Document, dict[str, Document]]:
    """The container with its probes turned to the agent, and what the agent has to ask, by path."""
    asked: dict[str, Document] = {}
    result = dict(container)
    if container["name"] == PROXY_CONTAINER:
        return result, asked
    for name, word in _PROBES:
        path = f"/app-health/{container['name']}/{word}"
        if (probe := container.get(name)) and (found := _find_question(probe, container, status_port)):
            asked[path] = found
            result[name] = _turn(probe, path, status_port)
    lifecycle = dict(container.get("lifecycle") or {})
    for name, word in _HOOKS:
        path = f"/app-lifecycle/{container['name']}/{word}"
        if (hook := lifecycle.get(name)) and (found := _find_question(hook, container, status_port)):
            asked[path] = found
            lifecycle[name] = _turn(hook, path, status_port)
    if lifecycle:
        result["lifecycle"] = lifecycle
    return result, asked


def format_probers(asked: Mapping[str, Document]) -> str:
    """The value of ISTIO_KUBE_APP_PROBERS."""
    return json.dumps({path: asked[path] for path in sorted(asked)}, separators=(",", ":"))


def _find_question(probe: Mapping[str, Any], container: Mapping[str, Any], status_port: int) -> Document | None:
    for name in ("httpGet", "tcpSocket", "grpc"):
        handler = probe.get(name)
        if not handler:
            continue
        port = _find_port(handler.get("port"), container)
        if port is None or (port == status_port and str(handler.get("path", "")).startswith("/app-health/")):
            return None
        found: Document = {name: {**handler, "port": port}}
        if probe.get("timeoutSeconds"):
            found["timeoutSeconds"] = probe["timeoutSeconds"]
        return found
    return None


def _find_port(port: Any, container: Mapping[str, Any]) -> int | None:
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isdigit():
        return int(port)
    named = (one["containerPort"] for one in container.get("ports") or () if one.get("name") == port)
    return next(named, None)


def _turn(probe: Mapping[str, Any], path: str, status_port: int) -> Document:
    handler = dict(probe.get("httpGet") or {})
    if handler.get("scheme") == "HTTPS":
        handler["scheme"] = "HTTP"
    rest = {name: value for name, value in probe.items() if name not in ("httpGet", "tcpSocket", "grpc")}
    return {**rest, "httpGet": {**handler, "path": path, "port": status_port}}
