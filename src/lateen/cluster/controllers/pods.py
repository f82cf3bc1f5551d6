"""Pods that nobody else will clear away: being deleted, but on no node, or on one that is gone.

Only a pod's node confirms its end, so these would stay for ever. Source: Kubernetes' pod garbage collector.
"""

from __future__ import annotations

from lateen.api.pod import Pod
from lateen.cluster.controllers.actions import Action, Delete
from lateen.cluster.controllers.state import NODE, POD, State


def reconcile_pod(state: State, namespace: str, name: str) -> list[Action]:
    """What clears the pod away, if it must be."""
    pod = state.find_view(POD, Pod, namespace, name)
    if pod is None or pod.metadata.deletion_timestamp is None:
        return []
    if pod.spec.node_name and state.find(NODE, "", pod.spec.node_name) is not None:
        return []
    return [Delete(POD, namespace, name, pod.metadata.uid, now=True)]
