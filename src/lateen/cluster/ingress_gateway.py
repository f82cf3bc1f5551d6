"""The ingress gateway that a new mesh has: ServiceAccount, LoadBalancer Service and Deployment `istio-ingressgateway`.

The proxy's container and volumes are those that gateway injection would make, written out, so that the pod needs no
webhook. The Service carries no `last-applied-configuration`: what a user applies to it later is merged with what is
there, port by port. Source: Istio's chart gateways/istio-ingress. Where we differ: ports 15443 and 31400 are left out.
"""

from __future__ import annotations

from typing import Any

from lateen.inject.containers import begin, build_gateway, build_resources
from lateen.inject.settings import InjectionSettings
from lateen.inject.volumes import build_volumes
from lateen.inject.workload import Workload

NAME = "istio-ingressgateway"
ACCOUNT = "istio-ingressgateway-service-account"
SELECTOR = {"app": NAME, "istio": "ingressgateway"}

_LABELS = {**SELECTOR, "release": "istio", "istio.io/rev": "default"}
_ANNOTATIONS = {
    "istio.io/rev": "default",
    "prometheus.io/path": "/stats/prometheus",
    "prometheus.io/port": "15020",
    "prometheus.io/scrape": "true",
    "sidecar.istio.io/inject": "false",
}
_PORTS = (("status-port", 15021, 15021), ("http2", 80, 8080), ("https", 443, 8443))
_READINESS = {
    "httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"},
    "initialDelaySeconds": 0,
    "periodSeconds": 1,
    "timeoutSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 30,
}
"""Istio waits 1 s and asks every 2 s; here one node asks one gateway."""

Document = dict[str, Any]


def build_gateway_objects(settings: InjectionSettings | None = None) -> list[Document]:
    """The objects, in the order of their creation."""
    settings = settings or InjectionSettings()
    metadata = {"namespace": settings.namespace, "labels": _LABELS}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, **metadata}}
    ports = [{"name": name, "port": port, "protocol": "TCP", "targetPort": target} for name, port, target in _PORTS]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, **metadata},
        "spec": {"type": "LoadBalancer", "selector": SELECTOR, "ports": ports},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, **metadata},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": SELECTOR},
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
            "template": _build_pod(settings),
        },
    }
    return [account, service, deployment]


def _build_pod(settings: InjectionSettings) -> Document:
    labels = {
        **_LABELS,
        "service.istio.io/canonical-name": NAME,
        "service.istio.io/canonical-revision": "latest",
        "sidecar.istio.io/inject": "false",
    }
    ports = [{"containerPort": target, "protocol": "TCP"} for _, _, target in _PORTS]
    metadata = {"labels": labels, "annotations": _ANNOTATIONS}
    draft = {"metadata": metadata, "spec": {"containers": [{"name": "istio-proxy", "ports": ports}]}}
    injection = begin(draft, Workload("apps/v1", "Deployment", settings.namespace, NAME), settings)
    container = build_gateway(injection)
    container["ports"] = [*ports, *container["ports"]]
    container["readinessProbe"] = _READINESS
    container["resources"] = build_resources(_ANNOTATIONS, settings)
    spec = {
        "serviceAccountName": ACCOUNT,
        "containers": [container],
        "volumes": build_volumes(_ANNOTATIONS, settings, is_gateway=True),
    }
    return {"metadata": metadata, "spec": spec}
