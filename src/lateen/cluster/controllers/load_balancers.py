"""Load balancers: a Service -> the address at which the host accepts its traffic.

The cluster's one address is the host's 127.0.0.1 (host_ports.py listens there). A Service that names a load balancer
class belongs to somebody else. Source: the Kubernetes API reference, Service v1, and the cloud providers' service
controller.
"""

from __future__ import annotations

from typing import Any

from lateen.api.core import Service
from lateen.cluster.controllers.actions import Action, Update
from lateen.cluster.controllers.state import SERVICE, State

ADDRESS = "127.0.0.1"
"""Also where host_ports.py listens."""


def reconcile_load_balancer(state: State, namespace: str, name: str) -> list[Action]:
    """What makes the Service's load balancer status true."""
    document = state.find(SERVICE, namespace, name)
    service = state.find_view(SERVICE, Service, namespace, name)
    if document is None or service is None or service.metadata.deletion_timestamp is not None:
        return []
    if service.spec.load_balancer_class is not None:
        return []
    wanted: dict[str, Any] = {}
    if service.spec.type == "LoadBalancer":
        wanted = {"ingress": [{"ip": ADDRESS, "ipMode": "VIP"}]}
    status = document.get("status") or {}
    if wanted == (status.get("loadBalancer") or {}):
        return []
    return [Update(SERVICE, {**document, "status": {**status, "loadBalancer": wanted}}, "status")]
