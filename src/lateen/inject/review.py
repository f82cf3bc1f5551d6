"""The answer to an AdmissionReview of a pod: allowed with a patch, allowed as it is, or refused with the reason.

Flow: AdmissionReview v1 (JSON) + settings -> AdmissionReview v1. Pure.
Invariant: a request that is no pod's is allowed as it is; a pod whose annotations cannot be obeyed is refused, since it
would otherwise run outside the mesh unseen. Source: Kubernetes' page "Dynamic Admission Control".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from lateen.api.objects import metadata_of, namespace_of
from lateen.base.errors import DataError
from lateen.inject.decision import decide_pod
from lateen.inject.injection import inject
from lateen.inject.json_difference import Operation, build_json_patch
from lateen.inject.settings import InjectionSettings
from lateen.inject.workload import find_workload

Document = dict[str, Any]


def build_patch(pod: Mapping[str, Any], settings: InjectionSettings) -> list[Operation]:
    """The patch that injects a pod, whether or not it wants it; raises DataError for a bad annotation."""
    return build_json_patch(pod, inject(pod, find_workload(pod), settings))


def answer_review(review: Mapping[str, Any], settings: InjectionSettings) -> Document:
    """The review with its response; raises DataError when it is no AdmissionReview of version 1."""
    request = review.get("request")
    if review.get("kind") != "AdmissionReview" or not isinstance(request, dict) or not request.get("uid"):
        raise DataError("this is no AdmissionReview with a request")
    response: Document = {"uid": request["uid"], "allowed": True}
    pod = request.get("object")
    if isinstance(pod, dict) and (request.get("kind") or {}).get("kind", "Pod") == "Pod" and pod.get("spec"):
        response |= _answer_pod(_with_namespace(pod, request.get("namespace") or ""), pod, settings)
    return {
        "kind": "AdmissionReview",
        "apiVersion": review.get("apiVersion", "admission.k8s.io/v1"),
        "response": response,
    }


def _answer_pod(named: Mapping[str, Any], pod: Mapping[str, Any], settings: InjectionSettings) -> Document:
    if not _is_well_formed(pod) or not decide_pod(named, settings).inject:
        return {}
    try:
        patch = build_json_patch(pod, inject(pod, find_workload(named), settings))
    except DataError as error:
        status = {"status": "Failure", "code": 400, "reason": "BadRequest", "message": error.message}
        return {"allowed": False, "status": status}
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


def _is_well_formed(pod: Mapping[str, Any]) -> bool:
    """Whether injection can read it; what is not is refused by the API server's own validation, after webhooks."""
    containers = [one for key in ("containers", "initContainers") for one in pod["spec"].get(key) or ()]
    return all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in containers)


def _with_namespace(pod: Mapping[str, Any], namespace: str) -> Mapping[str, Any]:
    """The pod with the namespace it is created in, which it may leave out itself."""
    if namespace_of(pod):
        return pod
    return {**pod, "metadata": {**metadata_of(pod), "namespace": namespace}}
