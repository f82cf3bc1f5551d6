"""What injection adds, as a patch that applies, and what it refuses."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lateen.api.json_patch import json_patch
from lateen.base.errors import DataError
from lateen.inject.json_difference import build_json_patch
from lateen.inject.kube_inject import inject_documents
from lateen.inject.review import answer_review, build_patch
from lateen.inject.settings import InjectionSettings

PROBE = {"httpGet": {"path": "/live", "port": "http", "scheme": "HTTPS"}, "timeoutSeconds": 2}


def build_pod(**annotations: str) -> dict[str, Any]:
    app = {"name": "app", "image": "app", "ports": [{"name": "http", "containerPort": 80}], "livenessProbe": PROBE}
    metadata: dict[str, Any] = {"name": "web-1", "namespace": "default", "labels": {"app": "web", "version": "v2"}}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"containers": [app]}}


def inject(pod: dict[str, Any], settings: InjectionSettings | None = None) -> dict[str, Any]:
    injected: dict[str, Any] = json_patch(pod, build_patch(pod, settings or InjectionSettings()))
    return injected


def test_the_patch_adds_the_mesh_and_keeps_the_app() -> None:
    pod = inject(build_pod())
    init, proxy = pod["spec"]["initContainers"]
    assert (init["name"], proxy["name"], proxy["restartPolicy"]) == ("istio-init", "istio-proxy", "Always")
    assert init["image"].startswith("docker.io/istio/proxyv2:")
    assert proxy["startupProbe"]["httpGet"]["port"] == 15021
    [app] = pod["spec"]["containers"]
    assert app["livenessProbe"] == {
        "httpGet": {"path": "/app-health/app/livez", "port": 15020, "scheme": "HTTP"},
        "timeoutSeconds": 2,
    }
    probers = next(one["value"] for one in proxy["env"] if one["name"] == "ISTIO_KUBE_APP_PROBERS")
    asked = {"httpGet": {"path": "/live", "port": 80, "scheme": "HTTPS"}, "timeoutSeconds": 2}
    assert json.loads(probers) == {"/app-health/app/livez": asked}
    labels = pod["metadata"]["labels"]
    assert labels["service.istio.io/canonical-revision"] == "v2"
    assert labels["security.istio.io/tlsMode"] == "istio"
    status = json.loads(pod["metadata"]["annotations"]["sidecar.istio.io/status"])
    assert status["initContainers"] == ["istio-init", "istio-proxy"]
    assert {one["name"] for one in pod["spec"]["volumes"]} == set(status["volumes"])


def test_a_replica_set_of_a_deployment_is_named_after_it() -> None:
    pod = build_pod()
    pod["metadata"]["labels"] = {"pod-template-hash": "5d9c"}
    owner = {"controller": True, "kind": "ReplicaSet", "apiVersion": "apps/v1", "name": "web-5d9c"}
    pod["metadata"]["ownerReferences"] = [owner]
    injected = inject(pod)
    environment = {one["name"]: one.get("value") for one in injected["spec"]["initContainers"][1]["env"]}
    assert environment["ISTIO_META_OWNER"] == "kubernetes://apis/apps/v1/namespaces/default/deployments/web"
    assert injected["metadata"]["labels"]["service.istio.io/canonical-name"] == "web"


@pytest.mark.parametrize(
    "annotations",
    [
        {"traffic.sidecar.istio.io/includeOutboundIPRanges": "everything"},
        {"traffic.sidecar.istio.io/excludeInboundPorts": "*"},
        {"readiness.status.sidecar.istio.io/periodSeconds": "soon"},
        {"status.sidecar.istio.io/port": "-1"},
        {"sidecar.istio.io/userVolume": "[]"},
        {"proxy.istio.io/config": "- a"},
        {"inject.istio.io/templates": "mine"},
    ],
    ids=lambda annotations: next(iter(annotations)),
)
def test_an_annotation_that_cannot_be_obeyed_refuses_the_pod_by_name(annotations: dict[str, str]) -> None:
    name = next(iter(annotations))
    with pytest.raises(DataError, match=name):
        inject(build_pod(**annotations))
    response = answer_review(build_review(build_pod(**annotations)), InjectionSettings())["response"]
    assert (response["allowed"], name in response["status"]["message"]) == (False, True)


def build_review(pod: Any, kind: str = "Pod") -> dict[str, Any]:
    request = {"uid": "u", "kind": {"kind": kind}, "namespace": "default", "object": pod}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def test_a_review_is_answered_with_a_patch_that_applies() -> None:
    pod = build_pod()
    del pod["metadata"]["namespace"]
    response = answer_review(build_review(pod), InjectionSettings())["response"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("u", True, "JSONPatch")
    patched = json_patch(pod, json.loads(base64.b64decode(response["patch"])))
    assert [one["name"] for one in patched["spec"]["initContainers"]] == ["istio-init", "istio-proxy"]


@pytest.mark.parametrize(
    "body",
    [{"spec": {"containers": [{"image": "nameless"}]}}, {"spec": {"containers": ["text"]}}, {"spec": None}, None],
)
def test_what_validation_will_refuse_passes_as_it_is(body: Any) -> None:
    assert answer_review(build_review(body), InjectionSettings())["response"] == {"uid": "u", "allowed": True}


def test_what_is_no_review_is_refused() -> None:
    with pytest.raises(DataError, match="AdmissionReview"):
        answer_review({"kind": "Pod"}, InjectionSettings())


def test_a_file_is_injected_once() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"metadata": {}, "spec": build_pod()["spec"]}},
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    once = inject_documents([deployment, service], InjectionSettings())
    assert once[1] == service
    assert inject_documents(once, InjectionSettings()) == once
    assert deployment["spec"]["template"]["metadata"] == {}  # type: ignore[index]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("ab/~", max_size=2), JSON), st.dictionaries(st.text("ab/~", max_size=2), JSON))
def test_a_patch_makes_one_document_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert json.dumps(json_patch(before, build_json_patch(before, after)), sort_keys=True) == json.dumps(
        after, sort_keys=True
    )
