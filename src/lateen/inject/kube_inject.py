"""Injection of files: every workload of a YAML file with its pod template injected, as `istioctl kube-inject` does.

Flow: documents -> documents, in order; a kind without pods stays as it is. Nobody's namespace labels are known here, so
only the pod itself may refuse: host network, `sidecar.istio.io/inject: "false"`.
Source: Istio `pkg/kube/inject`, IntoResourceFile and IntoObject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lateen.api.objects import metadata_of, name_of, namespace_of
from lateen.inject.decision import decide_pod
from lateen.inject.injection import inject
from lateen.inject.settings import InjectionSettings
from lateen.inject.workload import Workload, find_workload

Document = dict[str, Any]

_TEMPLATE_PATHS: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet", "Job", "ReplicationController", "DeploymentConfig"),
        ("spec", "template"),
    ),
}
"""Kind -> where its pods are described."""


def inject_documents(documents: Sequence[Mapping[str, Any]], settings: InjectionSettings) -> list[Document]:
    """Each document, injected if it describes pods; raises DataError that names the document."""
    return [inject_document(document, settings) for document in documents]


def inject_document(document: Mapping[str, Any], settings: InjectionSettings) -> Document:
    """One document, injected if it describes pods that want it; a List's items one by one."""
    if document.get("kind") == "List":
        return {**document, "items": inject_documents(document.get("items") or (), settings)}
    path = _TEMPLATE_PATHS.get(document.get("kind", ""))
    template = None if path is None else _find(document, path)
    if path is None or template is None:
        return dict(document)
    namespace = namespace_of(document) or "default"
    pod = {**template, "metadata": {**metadata_of(template), "namespace": namespace}}
    if not decide_pod(pod, settings).inject:
        return dict(document)
    workload = _find_workload(document, pod, namespace)
    injected = inject(template, workload, settings)
    return _replace(document, path, injected)


def _find_workload(document: Mapping[str, Any], pod: Mapping[str, Any], namespace: str) -> Workload:
    if document["kind"] == "Pod":
        return find_workload(pod)
    return Workload(document.get("apiVersion", ""), document["kind"], namespace, name_of(document))


def _find(document: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    found: Any = document
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and isinstance(found.get("spec"), dict) else None


def _replace(document: Mapping[str, Any], path: Sequence[str], part: Document) -> Document:
    if not path:
        return part
    return {**document, path[0]: _replace(document[path[0]], path[1:], part)}
