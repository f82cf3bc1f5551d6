"""Injection through a real API server: it asks discovery over TLS, with the caBundle that discovery wrote."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from control_plane import Cluster, build_pod, run_discovery

from lateen.inject.configuration import NAME
from lateen.pilot.discovery import Discovery
from lateen.testing.poll import until

CONFIGURATION = "MutatingWebhookConfiguration"


def lead_to(cluster: Cluster, discovery: Discovery) -> None:
    async def connect(_address: str, port: int) -> socket.socket:
        assert port == 15017
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", discovery.ports.webhook))
        return connection

    cluster.server.use_pod_network(connect)


async def label_namespace(cluster: Cluster, name: str, **labels: str) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await cluster.put(namespace)


def names(pod: dict[str, Any]) -> list[str]:
    return [one["name"] for key in ("initContainers", "containers") for one in pod["spec"].get(key, ())]


async def test_pods_of_a_labelled_namespace_get_a_sidecar(cluster: Cluster, discovery: Discovery) -> None:
    lead_to(cluster, discovery)
    plain = await cluster.put(build_pod("before"))
    assert names(plain) == ["app"]
    await label_namespace(cluster, "default", **{"istio-injection": "enabled"})
    pod = await cluster.put(build_pod("after"))
    assert names(pod) == ["istio-init", "istio-proxy", "app"]
    assert pod["metadata"]["labels"]["security.istio.io/tlsMode"] == "istio"
    refused = build_pod("refused")
    refused["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    assert names(await cluster.put(refused)) == ["app"]
    assert names(await cluster.put(build_pod("host", hostNetwork=True))) == ["app"]


async def test_a_changed_ca_bundle_is_put_right(cluster: Cluster, discovery: Discovery) -> None:
    lead_to(cluster, discovery)
    live = await cluster.find(CONFIGURATION, NAME, "")
    assert live is not None
    right = live["webhooks"][0]["clientConfig"]["caBundle"]
    live["webhooks"][0]["clientConfig"]["caBundle"] = "QQ=="
    await cluster.put(live)

    async def is_right() -> bool:
        found = await cluster.find(CONFIGURATION, NAME, "")
        return found is not None and all(one["clientConfig"].get("caBundle") == right for one in found["webhooks"])

    await until(is_right, what="the caBundle")


async def test_the_injectors_config_map_is_obeyed_at_once_and_a_broken_one_is_not(
    cluster: Cluster, discovery: Discovery
) -> None:
    lead_to(cluster, discovery)
    await label_namespace(cluster, "default", **{"istio-injection": "enabled"})
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio-sidecar-injector", "namespace": "istio-system"},
        "data": {"values": '{"global": {"hub": "example.org/mesh", "tag": "1.2"}}'},
    }
    await cluster.put(config_map)
    numbers = iter(range(100))

    async def has_image() -> bool:
        pod = await cluster.put(build_pod(f"web-{next(numbers)}"))
        return bool(pod["spec"]["initContainers"][0]["image"] == "example.org/mesh/proxyv2:1.2")

    await until(has_image, what="the image of the settings")
    await cluster.put({**config_map, "data": {"values": "{"}})
    assert await has_image()


async def test_a_restarted_discovery_is_trusted_again(cluster: Cluster) -> None:
    await label_namespace(cluster, "default", **{"istio-injection": "enabled"})
    for name in ("first", "second"):
        async with run_discovery(cluster) as discovery:
            lead_to(cluster, discovery)
            assert names(await cluster.put(build_pod(name))) == ["istio-init", "istio-proxy", "app"]
