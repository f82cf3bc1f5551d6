"""The service account of a pod: a name -> the account checked, its token, authority and namespace mounted.

A pod that names no account gets `default`. Unless pod or account opt out, every container that mounts
nothing at the well-known place gets a projected volume with a token bound to the pod, the cluster's CA and
the namespace. Source: the Kubernetes page "Configure Service Accounts for Pods" and the `ServiceAccount`
and `DefaultTolerationSeconds` admission plugins.
"""

from __future__ import annotations

import time
from typing import Any

from lateen.api.kinds_builtin import BUILTIN
from lateen.cluster.apiserver.status import forbidden
from lateen.cluster.apiserver.strategy import generate_name
from lateen.cluster.revisions import Key, Revision
from lateen.cluster.store import Store

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
"""An hour and an odd bit, by which Kubernetes tells tokens that it mounted itself."""

ROOT_CA_CONFIG_MAP = "kube-root-ca.crt"

_WAIT_SECONDS = 3.0
"""A pod may arrive right after its namespace, before the controllers made the account."""

_POD_KIND = next(kind for kind in BUILTIN if kind.qualified_name == "pods")

Document = dict[str, Any]


class ServiceAccountAdmission:
    """Completes the service account of new pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def admit(self, pod: Document, namespace: str, name: str) -> None:
        """Change a new pod in place; StatusError 403 if its account does not exist."""
        spec = pod.get("spec")
        if not isinstance(spec, dict):
            return
        account_name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = account_name
        _tolerate(spec)
        account = await self._find_account(namespace, account_name)
        if account is None:
            why = f"error looking up service account {namespace}/{account_name}: "
            why += f'serviceaccount "{account_name}" not found'
            raise forbidden(_POD_KIND, name, why)
        document = account.document()
        wanted = spec.get("automountServiceAccountToken", document.get("automountServiceAccountToken", True))
        if wanted is not False:
            _mount_token(spec)
        if document.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
            spec["imagePullSecrets"] = document["imagePullSecrets"]

    async def _find_account(self, namespace: str, name: str) -> Revision | None:
        key = Key("serviceaccounts", namespace, name)
        if (found := self._store.get(key)) is not None:
            return found
        watch = self._store.watch(key.resource, self._store.version)
        deadline = time.monotonic() + _WAIT_SECONDS
        try:
            while (found := self._store.get(key)) is None and await watch.wait(deadline - time.monotonic()):
                watch.take()
            return found
        finally:
            watch.close()


def _containers(spec: Document) -> list[Document]:
    fields = ("initContainers", "containers")
    return [one for field in fields for one in spec.get(field) or () if isinstance(one, dict)]


def _mount_token(spec: Document) -> None:
    lacking = [
        container
        for container in _containers(spec)
        if all(mount.get("mountPath") != MOUNT_PATH for mount in container.get("volumeMounts") or ())
    ]
    if not lacking:
        return
    volumes = spec.setdefault("volumes", None) or []
    volume = next((v["name"] for v in volumes if v.get("name", "").startswith("kube-api-access-")), None)
    if volume is None:
        volume = generate_name("kube-api-access-")
        volumes = [*volumes, {"name": volume, "projected": _build_projection()}]
    spec["volumes"] = volumes
    mount = {"mountPath": MOUNT_PATH, "name": volume, "readOnly": True}
    for container in lacking:
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), dict(mount)]


def _build_projection() -> Document:
    field_ref = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": ROOT_CA_CONFIG_MAP}},
            {"downwardAPI": {"items": [{"fieldRef": field_ref, "path": "namespace"}]}},
        ],
    }


def _tolerate(spec: Document) -> None:
    tolerations = list(spec.get("tolerations") or ())
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(one.get("key") in (key, None, "") for one in tolerations):
            tolerations.append({"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300})
    spec["tolerations"] = tolerations
