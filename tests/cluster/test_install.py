"""What a new cluster holds, and how it takes what users apply over it."""

from __future__ import annotations

from typing import Any

import yaml

from lateen.cluster.ingress_gateway import build_gateway_objects
from lateen.cluster.install import build_mesh_objects, install_gateway, install_mesh
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.testing.apiserver import RunningServer

ARTICLE_SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: istio-ingressgateway
  namespace: istio-system
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-type: "external"
    service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: "ip"
    service.beta.kubernetes.io/aws-load-balancer-scheme: "internet-facing"
    service.beta.kubernetes.io/aws-load-balancer-ssl-cert: "arn:aws:acm:ap-northeast-2:123456789012:certificate/xxx"
    service.beta.kubernetes.io/aws-load-balancer-ssl-ports: "443"
spec:
  type: LoadBalancer
  ports:
  - port: 443
    targetPort: 8080
    name: https
"""
SERVICE = "/api/v1/namespaces/istio-system/services/istio-ingressgateway"


async def install(api: RunningServer) -> None:
    async with Client(load_config(api.state / "kubeconfig")) as client:
        for _ in range(2):  # nothing is put back, nothing made twice
            await install_mesh(client)
            await install_gateway(client)


def ports(service: dict[str, Any]) -> dict[int, Any]:
    return {port["port"]: port["targetPort"] for port in service["spec"]["ports"]}


async def test_every_object_of_the_mesh_is_accepted_without_a_warning(api: RunningServer) -> None:
    for document in (*build_mesh_objects(), *build_gateway_objects()):
        answer = await api.kubectl("create", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(document))
        assert answer.err == "", document["kind"]


async def test_a_service_applied_over_the_gateways_own_is_merged_with_it(api: RunningServer) -> None:
    await install(api)
    before = await api.get(SERVICE)
    assert ports(before) == {15021: 15021, 80: 8080, 443: 8443}
    applied = await api.kubectl("apply", "-f", "-", stdin=ARTICLE_SERVICE)
    assert "service/istio-ingressgateway configured" in applied.out
    after = await api.get(SERVICE)
    assert ports(after) == {15021: 15021, 80: 8080, 443: 8080}
    assert after["spec"]["selector"] == {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    assert after["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-type"] == "external"
    node_ports = [{port["port"]: port["nodePort"] for port in one["spec"]["ports"]} for one in (before, after)]
    assert node_ports[0] == node_ports[1]
    await api.kubectl("apply", "-f", "-", stdin=ARTICLE_SERVICE)
    assert await api.get(SERVICE) == after, "applying it again changes nothing"
