"""A real API server, a control plane on it, and the pods, tokens and nodes that clients need."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict

from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.cluster.apiserver.main import write_kubeconfigs
from lateen.cluster.apiserver.server import ApiServer
from lateen.cluster.install import build_definitions, install_mesh
from lateen.cluster.pki import open_pki
from lateen.cluster.store import Store
from lateen.envoy.messages import message_class
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.pilot.discovery import Discovery
from lateen.pilot.options import Options, Ports
from lateen.testing.ads_client import AdsClient
from lateen.testing.poll import until

REGISTRY = Registry((*BUILTIN, *ISTIO))
SERVER_NAME = "istiod.istio-system.svc"


def build_node(name: str = "client", namespace: str = "default", **metadata: Any) -> bytes:
    node = {
        "id": f"sidecar~10.244.0.9~{name}.{namespace}~{namespace}.svc.cluster.local",
        "metadata": {"NAMESPACE": namespace, **metadata},
    }
    encoded: bytes = ParseDict(node, message_class("envoy.config.core.v3.Node")()).SerializeToString(deterministic=True)
    return encoded


def build_service(name: str, port: int = 80, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": port, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def build_slice(service: str, *addresses: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def build_pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": "app"}], "serviceAccountName": "default", **spec},
    }


@dataclass
class Cluster:
    """An API server with the mesh's objects, and its administrator."""

    state: Path
    admin: Client
    server: ApiServer

    @property
    def kubeconfig(self) -> Path:
        return self.state / "components" / "discovery.kubeconfig"

    async def put(self, document: dict[str, Any]) -> dict[str, Any]:
        kind = REGISTRY.find_document(document)
        assert kind is not None
        metadata = document["metadata"]
        live = await self.find(kind.kind, metadata["name"], metadata.get("namespace", ""))
        if live is None:
            return await self.admin.create(kind, document)
        return await self.admin.patch(kind, metadata.get("namespace", ""), metadata["name"], document)

    async def find(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        found = next(each for each in REGISTRY if each.kind == kind)
        listed = await self.admin.list(found, namespace, field_selector=f"metadata.name={name}")
        return listed.items[0] if listed.items else None

    async def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        found = next(each for each in REGISTRY if each.kind == kind)
        await self.admin.delete(found, namespace, name)

    async def create_token(self, pod: str, *, audience: str = "istio-ca") -> str:
        """A token of service account `default`, bound to the pod."""
        accounts = next(each for each in REGISTRY if each.kind == "ServiceAccount")
        live = await self.find("Pod", pod)
        assert live is not None
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience],
                "expirationSeconds": 3600,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod,
                    "uid": live["metadata"]["uid"],
                },
            },
        }
        answer = await self.admin.post_subresource(accounts, "default", "default", "token", request)
        return str(answer["status"]["token"])

    async def read_roots(self) -> bytes:
        async def find_roots() -> dict[str, Any] | None:
            return await self.find("ConfigMap", "istio-ca-root-cert")

        config_map = await until(find_roots, what="the roots in the namespace")
        return str(config_map["data"]["root-cert.pem"]).encode()


@asynccontextmanager
async def run_cluster(state: Path) -> AsyncIterator[Cluster]:
    pki = open_pki(state / "pki")
    listener = socket.create_server(("127.0.0.1", 0))
    server = ApiServer(Store(state / "cluster.db"), pki, definitions=build_definitions())
    write_kubeconfigs(state, pki, f"https://127.0.0.1:{listener.getsockname()[1]}")
    await server.start([listener])
    try:
        async with Client(load_config(state / "kubeconfig")) as admin:
            await install_mesh(admin)
            yield Cluster(state, admin, server)
    finally:
        await server.close()


def build_options(kubeconfig: Path, ports: Ports | None = None) -> Options:
    return Options(
        kubeconfig=kubeconfig,
        address="127.0.0.1",
        ports=ports or Ports(0, 0, 0, 0, 0),
        ports_file=None,
        trust_domain="cluster.local",
        log_level="warn",
        dies_with_parent=False,
    )


@asynccontextmanager
async def run_discovery(cluster: Cluster, ports: Ports | None = None) -> AsyncIterator[Discovery]:
    async with Client(load_config(cluster.kubeconfig)) as client:
        discovery = Discovery(client, build_options(cluster.kubeconfig, ports))
        running = asyncio.create_task(discovery.run())
        ready = asyncio.create_task(discovery.ready.wait())
        await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
        try:
            if running.done():
                running.result()
            yield discovery
        finally:
            ready.cancel()
            running.cancel()
            await asyncio.gather(running, ready, return_exceptions=True)


def plain_client(discovery: Discovery, name: str = "client", **arguments: Any) -> AdsClient:
    return AdsClient(f"127.0.0.1:{discovery.ports.ads}", node=build_node(name), **arguments)


@asynccontextmanager
async def spawn_discovery(
    cluster: Cluster, *arguments: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, int]]]:
    """Discovery as a process of its own, ready, and its ports."""
    command = [sys.executable, "-m", "lateen.pilot.main", "--kubeconfig", str(cluster.kubeconfig), *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        yield process, json.loads(line)["ports"]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


ANY_PORTS = tuple(f"--{name}-port=0" for name in ("ads", "tls", "http", "monitoring", "webhook"))
