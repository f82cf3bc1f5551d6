"""Namespaces: what each needs while it lives, and how it ends.

A living namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`, by which its pods trust the
API server. One that is being deleted loses its pods first, so that they end while their Secrets are still there,
then everything else, and last the finalizer `kubernetes`, upon which the API server lets it go.

Source: the Kubernetes pages "Namespaces" and "Service Accounts", and KEP-5080 on the order of deletion.
"""

from __future__ import annotations

from collections.abc import Mapping

from lateen.api.core import Namespace
from lateen.api.objects import JsonObject, is_terminating, name_of, uid_of
from lateen.cluster.controllers.actions import Action, Create, Delete, Empty, Update
from lateen.cluster.controllers.state import CONFIG_MAP, NAMESPACE, POD, SERVICE_ACCOUNT, State

DEFAULT_ACCOUNT = "default"
#: The API server projects this ConfigMap into every pod.
ROOT_CERTIFICATE = "kube-root-ca.crt"
FINALIZER = "kubernetes"

_ROOT_CERTIFICATE_NOTE = "kubernetes.io/description"


def reconcile_namespace(state: State, name: str) -> list[Action]:
    """What the namespace needs next."""
    namespace = state.find_view(NAMESPACE, Namespace, "", name)
    if namespace is None:
        return []
    if namespace.metadata.deletion_timestamp is None:
        return [*_reconcile_account(state, name), *_reconcile_certificate(state, name)]
    if FINALIZER not in namespace.spec.finalizers:
        return []
    pods = list(state.documents(POD, name))
    if pods:
        return [Delete(POD, name, name_of(pod), uid_of(pod)) for pod in pods if not is_terminating(pod)]
    return [Empty(name)]


def finish_namespace(namespace: JsonObject, remaining: Mapping[str, int]) -> list[Action]:
    """What follows on emptying; `remaining` is kind -> number of objects that are still there."""
    if not remaining:
        spec = dict(namespace.get("spec") or {})
        spec["finalizers"] = [found for found in spec.get("finalizers") or () if found != FINALIZER]
        return [Update(NAMESPACE, {**namespace, "spec": spec}, subresource="finalize")]
    text = ", ".join(f"{kind} has {number} resource instances" for kind, number in sorted(remaining.items()))
    condition = {
        "type": "NamespaceContentRemaining",
        "status": "True",
        "reason": "SomeResourcesRemain",
        "message": f"Some resources are remaining: {text}",
    }
    status = dict(namespace.get("status") or {})
    others = [found for found in status.get("conditions") or () if found.get("type") != condition["type"]]
    known = [found for found in status.get("conditions") or () if found.get("message") == condition["message"]]
    if known:
        return []
    return [Update(NAMESPACE, {**namespace, "status": {**status, "conditions": [*others, condition]}}, "status")]


def _reconcile_account(state: State, namespace: str) -> list[Action]:
    if state.find(SERVICE_ACCOUNT, namespace, DEFAULT_ACCOUNT) is not None:
        return []
    metadata = {"name": DEFAULT_ACCOUNT, "namespace": namespace}
    return [Create(SERVICE_ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})]


def _reconcile_certificate(state: State, namespace: str) -> list[Action]:
    data = {"ca.crt": state.root_certificate}
    found = state.find(CONFIG_MAP, namespace, ROOT_CERTIFICATE)
    if found is not None:
        return [] if found.get("data") == data else [Update(CONFIG_MAP, {**found, "data": data})]
    note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints."
    metadata = {"name": ROOT_CERTIFICATE, "namespace": namespace, "annotations": {_ROOT_CERTIFICATE_NOTE: note}}
    return [Create(CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})]
