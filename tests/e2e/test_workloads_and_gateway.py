"""Deployments, Jobs, node ports and the ingress gateway with real pods: what a user reaches from the host."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

from lateen.cluster.install import install_gateway
from lateen.kube.client import Client
from lateen.kube.config import load_config

from .conftest import Mesh, poll, service


def deployment(name: str, *, replicas: int = 2, **environment: str) -> dict[str, Any]:
    variables = [{"name": key, "value": value} for key, value in environment.items()]
    container = {"name": "app", "image": "lateen/sample-http", "env": variables}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def ask(port: int, *, host: str = "example.com", path: str = "/") -> int:
    """The status of GET from the host, 0 when nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    except OSError:
        return 0
    except http.client.HTTPException:
        return 0
    finally:
        connection.close()


def node_port(mesh: Mesh, name: str, port: int, namespace: str) -> int:
    found = mesh.get("service", name, namespace)
    assert found is not None
    return next(int(one["nodePort"]) for one in found["spec"]["ports"] if one["port"] == port)


def test_injected_replicas_roll_out_behind_a_node_port_and_go_with_their_deployment(mesh: Mesh, namespace: str) -> None:
    mesh.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    reachable = service("web")
    reachable["spec"]["type"] = "NodePort"
    mesh.apply(deployment("web"), reachable, namespace=namespace)
    mesh.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=60s")
    port = node_port(mesh, "web", 80, namespace)
    poll(lambda: ask(port) == 200)
    mesh.kubectl("-n", namespace, "rollout", "restart", "deploy/web")
    mesh.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=60s")
    poll(lambda: ask(port) == 200)
    mesh.kubectl("-n", namespace, "scale", "deploy/web", "--replicas=1")
    poll(lambda: len(pods(mesh, namespace)) == 1)
    mesh.kubectl("-n", namespace, "delete", "deploy", "web", "--cascade=foreground")
    assert pods(mesh, namespace) == []


def pods(mesh: Mesh, namespace: str) -> list[Any]:
    done = mesh.kubectl("-n", namespace, "get", "pods", "-o", "json")
    found: list[Any] = json.loads(done.stdout)["items"]
    return found


def test_a_job_ends_although_it_has_a_sidecar(mesh: Mesh, namespace: str) -> None:
    mesh.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    container = {"name": "work", "image": "work", "command": ["python3", "-c", "print('done')"]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work"},
        "spec": {"completions": 2, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    mesh.apply(job, namespace=namespace)
    mesh.kubectl("-n", namespace, "wait", "--for=condition=complete", "job/work", "--timeout=60s")
    assert mesh.kubectl("-n", namespace, "logs", "job/work", "-c", "work").stdout == "done\n"
    phases = {pod["status"]["phase"] for pod in pods(mesh, namespace)}
    sidecars = {one["name"] for pod in pods(mesh, namespace) for one in pod["spec"]["initContainers"]}
    assert (phases, "istio-proxy" in sidecars) == ({"Succeeded"}, True)


def test_the_ingress_gateway_serves_the_host(mesh: Mesh, namespace: str) -> None:
    asyncio.run(install(mesh))
    mesh.kubectl("-n", "istio-system", "rollout", "status", "deploy/istio-ingressgateway", "--timeout=60s")
    poll(lambda: address(mesh) == "127.0.0.1")
    poll(lambda: ask(node_port(mesh, "istio-ingressgateway", 15021, "istio-system"), path="/healthz/ready") == 200)

    mesh.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    host = f"{namespace}.example.com"
    mesh.apply(deployment("web", replicas=1), service("web"), *routes(host), namespace=namespace)
    mesh.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=60s")
    port = node_port(mesh, "istio-ingressgateway", 80, "istio-system")
    poll(lambda: ask(port, host=host) == 200)
    assert ask(port, host="other.example.org") == 404


async def install(mesh: Mesh) -> None:
    async with Client(load_config(mesh.state.kubeconfig)) as client:
        await install_gateway(client)


def address(mesh: Mesh) -> str:
    """As Istio's pages find INGRESS_HOST."""
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    return mesh.kubectl("-n", "istio-system", "get", "service", "istio-ingressgateway", "-o", path).stdout


def routes(host: str) -> list[dict[str, Any]]:
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [host]}
    gateway = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "web"},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]},
    }
    route = {"route": [{"destination": {"host": "web", "port": {"number": 80}}}]}
    virtual_service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {"hosts": [host], "gateways": ["web"], "http": [route]},
    }
    return [gateway, virtual_service]
