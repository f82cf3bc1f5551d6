"""What is accepted though nothing acts on it yet: an object -> the warnings that say so.

kubectl prints the warning; the object is stored as on Kubernetes, so that configuration written for a real
cluster can be applied unchanged.
"""

from __future__ import annotations

from typing import Any

from lateen.api.kinds import Kind

_WITHOUT_EFFECT = {
    "cronjobs.batch": "no job is started; create a Job",
    "daemonsets.apps": "no pods are made for it; use a Deployment",
    "horizontalpodautoscalers.autoscaling": "nothing is scaled automatically",
    "ingresses.networking.k8s.io": "no ingress controller runs",
    "limitranges": "no limits are applied",
    "networkpolicies.networking.k8s.io": "no traffic is filtered; use AuthorizationPolicy",
    "replicationcontrollers": "no pods are made for it; use a Deployment",
    "resourcequotas": "no quota is enforced",
    "statefulsets.apps": "no pods are made for it; use a Deployment",
    "validatingadmissionpolicies.admissionregistration.k8s.io": "no policy is evaluated; use a webhook",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": "no policy is evaluated; use a webhook",
    "mutatingadmissionpolicies.admissionregistration.k8s.io": "no policy is evaluated; use a webhook",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": "no policy is evaluated; use a webhook",
    "apiservices.apiregistration.k8s.io": "requests are not passed on to other API servers",
}
"""Built-in kinds; kinds of Istio say it themselves (`Kind.translated`)."""


def find_effect_warnings(kind: Kind, document: dict[str, Any]) -> list[str]:
    """What to tell a user who creates this object; nothing if all of it works."""
    if not kind.translated:
        return [f"{kind.kind}.{kind.group} is accepted but has no effect on the mesh yet"]
    if effect := _WITHOUT_EFFECT.get(kind.qualified_name):
        return [f"{kind.kind} is accepted but has no effect on this cluster: {effect}"]
    if kind.kind == "CustomResourceDefinition" and _has_rules(document):
        return ["x-kubernetes-validations are accepted but not evaluated on this cluster"]
    return []


def _has_rules(value: Any) -> bool:
    if isinstance(value, dict):
        return "x-kubernetes-validations" in value or any(map(_has_rules, value.values()))
    return isinstance(value, list) and any(map(_has_rules, value))
