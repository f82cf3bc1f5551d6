"""Whether a pod gets a sidecar: namespace labels, the pod's own label and annotation, policy, selectors.

Flow: pod + namespace labels + settings -> `Decision`, with the reason in words.

| first that applies | outcome |
| --- | --- |
| the webhook's selectors (labels of namespace and pod, revision) do not choose the pod | no |
| host network; a system namespace; a sidecar is there already | no |
| label `sidecar.istio.io/inject`, else the annotation of that name | as it says |
| a never-inject selector; an always-inject selector | no; yes |
| the policy | `enabled`: yes; anything else: no |

Where both stand, `istio-injection` beats `istio.io/rev` on a namespace, and the pod's label its annotation.
Source: Istio `pkg/kube/inject`, injectRequired, and the selectors of its webhook configuration (`build_webhooks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lateen.api.objects import annotations_of, labels_of, namespace_of
from lateen.inject.settings import IGNORED_NAMESPACES, InjectionSettings

INJECT = "sidecar.istio.io/inject"
STATUS = "sidecar.istio.io/status"
NAMESPACE_LABEL = "istio-injection"
REVISION_LABEL = "istio.io/rev"
_TRUE = frozenset({"true", "yes", "y", "on"})
_FALSE = frozenset({"false", "no", "n", "off"})


@dataclass(frozen=True)
class Decision:
    """The outcome and why."""

    inject: bool
    reason: str


def decide(pod: Mapping[str, Any], namespace_labels: Mapping[str, str], settings: InjectionSettings) -> Decision:
    """Whether a pod created in a namespace with these labels gets a sidecar."""
    refusal = _find_unselected(labels_of(pod), namespace_labels, settings)
    return Decision(False, refusal) if refusal else decide_pod(pod, settings)


def _find_unselected(
    labels: Mapping[str, str], namespace_labels: Mapping[str, str], settings: InjectionSettings
) -> str:
    """Why no webhook of this revision chooses the pod; empty when one does."""
    if labels.get(INJECT) == "false":
        return f"the pod's label {INJECT} says false"
    injection, revision = namespace_labels.get(NAMESPACE_LABEL), namespace_labels.get(REVISION_LABEL)
    if injection is not None:
        return "" if injection == "enabled" else f"the namespace's label {NAMESPACE_LABEL} says {injection}"
    if revision is not None:
        return "" if revision == settings.revision else f"the namespace's label {REVISION_LABEL} names {revision}"
    own = labels.get(REVISION_LABEL)
    if own is not None:
        return "" if own == settings.revision else f"the pod's label {REVISION_LABEL} names {own}"
    if labels.get(INJECT) == "true" or settings.enable_namespaces_by_default:
        return ""
    return f"neither the namespace nor the pod asks for it: no {NAMESPACE_LABEL}, no {REVISION_LABEL}"


def decide_pod(pod: Mapping[str, Any], settings: InjectionSettings) -> Decision:
    """Whether a pod that the webhook was called for gets a sidecar."""
    if (pod.get("spec") or {}).get("hostNetwork"):
        return Decision(False, "the pod uses the host's network")
    if namespace_of(pod) in IGNORED_NAMESPACES:
        return Decision(False, f"{namespace_of(pod)} is a namespace of the system")
    if STATUS in annotations_of(pod) and _has_sidecar(pod):
        return Decision(False, "the pod was injected already")
    asked = labels_of(pod).get(INJECT, annotations_of(pod).get(INJECT, "")).lower()
    if settings.policy not in ("enabled", "disabled"):
        return Decision(False, f"{settings.policy!r} is no injection policy")
    if asked in _TRUE:
        return Decision(True, f"the pod's {INJECT} asks for it")
    if asked in _FALSE:
        return Decision(False, f"the pod's {INJECT} says {asked}")
    return _decide_by_default(labels_of(pod), settings)


def _decide_by_default(labels: Mapping[str, str], settings: InjectionSettings) -> Decision:
    if any(selector.matches(labels) for selector in settings.never_selectors):
        return Decision(False, "a neverInjectSelector matches the pod")
    if any(selector.matches(labels) for selector in settings.always_selectors):
        return Decision(True, "an alwaysInjectSelector matches the pod")
    return Decision(settings.policy == "enabled", f"the policy is {settings.policy}")


def _has_sidecar(pod: Mapping[str, Any]) -> bool:
    spec = pod["spec"]
    return any(
        one.get("name") == "istio-proxy" for key in ("containers", "initContainers") for one in spec.get(key) or ()
    )
