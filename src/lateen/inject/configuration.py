"""The MutatingWebhookConfiguration of sidecar injection, as Istio's chart makes it.

| webhook | namespaces | pods |
| --- | --- | --- |
| rev.namespace | label `istio.io/rev` is the revision, no `istio-injection` | not `sidecar.istio.io/inject: false` |
| rev.object | neither label | `istio.io/rev` is the revision, not `inject: false` |
| namespace | `istio-injection: enabled` | not `sidecar.istio.io/inject: false` |
| object | neither label | `sidecar.istio.io/inject: true`, no `istio.io/rev` |

At most one chooses a pod. Without `caBundle` the API server trusts nobody who answers: discovery fills it in.
Source: Istio `manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml`.
"""

from __future__ import annotations

from typing import Any

from lateen.inject.decision import INJECT, NAMESPACE_LABEL, REVISION_LABEL

NAME = "istio-sidecar-injector"
PATH = "/inject"
DISCOVERY_SERVICE = "istiod"
WEBHOOK_PORT = 443  # of that Service; also in lateen.cluster.install
_SUFFIX = "sidecar-injector.istio.io"

Document = dict[str, Any]


def build_webhooks(*, revision: str = "default", namespace: str = "istio-system", ca_bundle: str = "") -> Document:
    """The configuration object; `ca_bundle` is base64 of PEM."""
    of_revision = _require(REVISION_LABEL, "In", revision)
    no_revision, no_injection = _require(REVISION_LABEL, "DoesNotExist"), _require(NAMESPACE_LABEL, "DoesNotExist")
    not_refused = _require(INJECT, "NotIn", "false")
    chosen = (
        ("rev.namespace", [of_revision, no_injection], [not_refused]),
        ("rev.object", [no_revision, no_injection], [not_refused, of_revision]),
        ("namespace", [_require(NAMESPACE_LABEL, "In", "enabled")], [not_refused]),
        ("object", [no_injection, no_revision], [_require(INJECT, "In", "true"), no_revision]),
    )
    service = {"name": DISCOVERY_SERVICE, "namespace": namespace, "path": PATH, "port": WEBHOOK_PORT}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": NAME,
            "labels": {REVISION_LABEL: revision, "app": "sidecar-injector", "istio.io/tag": "default"},
        },
        "webhooks": [
            {
                "name": f"{prefix}.{_SUFFIX}",
                "clientConfig": {"service": dict(service), **({"caBundle": ca_bundle} if ca_bundle else {})},
                "sideEffects": "None",
                "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "admissionReviewVersions": ["v1"],
                "namespaceSelector": {"matchExpressions": namespaces},
                "objectSelector": {"matchExpressions": pods},
            }
            for prefix, namespaces, pods in chosen
        ],
    }


def _require(key: str, operator: str, *values: str) -> Document:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
