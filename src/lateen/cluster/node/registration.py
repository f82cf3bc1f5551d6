"""The Node object: what the embedded node says of itself. Also binds pods that no node has yet.

Source: Kubernetes API reference v1.34, `core/v1` Node and Binding.
"""

from __future__ import annotations

import os
import platform
from datetime import datetime
from importlib.metadata import version

from lateen.api.objects import JsonObject, is_terminating, name_of, namespace_of
from lateen.cluster.node.fields import NODE_NAME
from lateen.cluster.node.pod_api import PODS, get_kind
from lateen.cluster.node.status import HOST_ADDRESS, PUBLIC_ADDRESS, format_time
from lateen.kube.client import Client
from lateen.kube.errors import ApiConflictError, ApiNotFoundError

NODES = get_kind("", "v1", "nodes")
_MOST_PODS = 110
_KUBELET_VERSION = "v1.34.0"


def measure_capacity() -> dict[str, float]:
    """Return what the machine has: cpu, memory (bytes), pods, ephemeral-storage (bytes)."""
    disk = os.statvfs("/")
    return {
        "cpu": float(os.cpu_count() or 1),
        "memory": float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "ephemeral-storage": float(disk.f_frsize * disk.f_blocks),
        "pods": float(_MOST_PODS),
    }


def build_node(capacity: dict[str, float], now: datetime) -> JsonObject:
    """Return the Node object."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    amounts = {
        name: f"{int(value) // 1024}Ki" if value > 1 << 20 else str(int(value)) for name, value in capacity.items()
    }
    moment = format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": machine,
                "node-role.kubernetes.io/control-plane": "",
            },
        },
        "spec": {"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": HOST_ADDRESS},
                {"type": "ExternalIP", "address": PUBLIC_ADDRESS},
                {"type": "Hostname", "address": NODE_NAME},
            ],
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [
                {
                    "type": kind,
                    "status": "True" if kind == "Ready" else "False",
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": moment,
                    "lastTransitionTime": moment,
                }
                for kind, reason, message in (
                    ("MemoryPressure", "KubeletHasSufficientMemory", "node has sufficient memory available"),
                    ("DiskPressure", "KubeletHasNoDiskPressure", "node has no disk pressure"),
                    ("PIDPressure", "KubeletHasSufficientPID", "node has sufficient PID available"),
                    ("Ready", "KubeletReady", "the node runs pods"),
                )
            ],
            "nodeInfo": _build_node_info(machine),
        },
    }


def _build_node_info(machine: str) -> JsonObject:
    return {
        "architecture": machine,
        "bootID": "",
        "containerRuntimeVersion": f"lateen://{version('lateen')}",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": _KUBELET_VERSION,
        "machineID": "",
        "operatingSystem": "linux",
        "osImage": "Lateen embedded node",
        "systemUUID": "",
    }


async def register(client: Client, capacity: dict[str, float], now: datetime) -> None:
    """Create or update the Node object; raises LateenError."""
    node = build_node(capacity, now)
    status = {"status": node["status"]}
    try:
        await client.create(NODES, node)
    except ApiConflictError:
        await client.patch(NODES, "", NODE_NAME, {"metadata": {"labels": node["metadata"]["labels"]}})
    await client.patch(NODES, "", NODE_NAME, status, subresource="status")


def needs_binding(pod: JsonObject) -> bool:
    """Whether the pod waits for a node."""
    spec = pod.get("spec") or {}
    return not spec.get("nodeName") and not spec.get("schedulingGates") and not is_terminating(pod)


async def bind(client: Client, pod: JsonObject) -> bool:
    """Bind the pod to this node; False when it is gone or somebody else bound it. Raises LateenError."""
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name_of(pod), "namespace": namespace_of(pod)},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE_NAME},
    }
    try:
        await client.post_subresource(PODS, namespace_of(pod), name_of(pod), "binding", binding)
    except (ApiConflictError, ApiNotFoundError):
        return False
    return True
