"""Asking the Envoy of a pod: (pod, method, path) -> what its admin interface answers.

The way is `pods/exec` of `pilot-agent request` in the proxy's container, as Istio's documentation does it by hand; it
needs no more than the API server.
"""

from __future__ import annotations

from lateen.api.objects import JsonObject
from lateen.base.errors import NotFoundError, UnavailableError
from lateen.cli.session import Session
from lateen.kube.exec import run_in_pod

PROXY_CONTAINER = "istio-proxy"
ADMIN_PORT = 15000


def name_of(pod: JsonObject) -> str:
    """`NAME.NAMESPACE`."""
    return f"{pod['metadata']['name']}.{pod['metadata']['namespace']}"


def has_proxy(pod: JsonObject) -> bool:
    """Whether the pod has a proxy's container, also as a native sidecar."""
    spec = pod.get("spec", {})
    return any(
        each["name"] == PROXY_CONTAINER for each in (*spec.get("containers", ()), *spec.get("initContainers", ()))
    )


async def ask_envoy(session: Session, pod: JsonObject, method: str, path: str, port: int = ADMIN_PORT) -> bytes:
    """The body of the answer; raises NotFoundError for a pod without Envoy, UnavailableError without answer."""
    if not has_proxy(pod):
        raise NotFoundError(
            f"pod {name_of(pod)} has no container {PROXY_CONTAINER}",
            fix=f"label its namespace: kubectl label namespace {pod['metadata']['namespace']} istio-injection=enabled, "
            "and restart the pod",
        )
    output, errors = bytearray(), bytearray()
    code = await run_in_pod(
        session.client,
        pod["metadata"]["namespace"],
        pod["metadata"]["name"],
        ["pilot-agent", "request", "--debug-port", str(port), method, path],
        container=PROXY_CONTAINER,
        on_stdout=output.extend,
        on_stderr=errors.extend,
    )
    if code:
        reason = errors.decode("utf-8", "replace").strip().removeprefix("Error: ")
        raise UnavailableError(f"the Envoy of pod {name_of(pod)} was asked for {path}: {reason}")
    return bytes(output)
