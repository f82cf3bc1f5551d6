"""The controllers on the real API server: what users see of endpoints, accounts and namespaces."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lateen.api.kinds import Kind
from lateen.api.objects import JsonObject
from lateen.base.errors import NotFoundError
from lateen.cluster.controllers.loop import run
from lateen.cluster.controllers.state import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    ENDPOINTS,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
)
from lateen.kube.client import Client
from lateen.kube.errors import ApiForbiddenError
from lateen.testing.apiserver_process import ApiServerProcess, run_process
from lateen.testing.poll import until


@asynccontextmanager
async def running_controllers(server: ApiServerProcess) -> AsyncIterator[Client]:
    """An administrator of a cluster with an API server and controllers, and no node."""
    async with Client(server.config("controllers")) as system, Client(server.config()) as client:
        controllers = asyncio.create_task(run(system))
        yield client
        assert not controllers.done(), controllers.exception()
        controllers.cancel()
        await asyncio.gather(controllers, return_exceptions=True)


@pytest_asyncio.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Client]:
    async with run_process(tmp_path) as server, running_controllers(server) as client:
        yield client


async def find(client: Client, kind: Kind, namespace: str, name: str) -> JsonObject | None:
    try:
        return await client.get(kind, namespace, name)
    except NotFoundError:
        return None


async def create_namespace(client: Client, name: str) -> None:
    await client.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await until(lambda: find(client, SERVICE_ACCOUNT, name, "default"))


async def create_node(client: Client) -> None:
    await client.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lateen"}})


async def create_pod(client: Client, name: str, *, ready: bool = True, ip: str = "10.244.0.7") -> JsonObject:
    container = {"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}]}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [container], "nodeName": "lateen"},
    }
    await client.create(POD, document)
    return await set_status(client, name, ready=ready, ip=ip)


async def set_status(client: Client, name: str, *, ready: bool, ip: str = "10.244.0.7") -> JsonObject:
    status = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }
    return await client.patch(POD, "shop", name, {"status": status}, subresource="status")


async def create_service(client: Client) -> JsonObject:
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }
    return await client.create(SERVICE, document)


async def slices(client: Client) -> list[JsonObject]:
    found = await client.list(ENDPOINT_SLICE, "shop", label_selector="kubernetes.io/service-name=web")
    return found.items


async def conditions(client: Client) -> dict[str, Any]:
    return {
        endpoint["targetRef"]["name"]: endpoint["conditions"]
        for found in await slices(client)
        for endpoint in found["endpoints"] or ()
    }


async def test_a_namespace_gets_its_account_and_the_authority(admin: Client) -> None:
    await create_namespace(admin, "shop")
    authority = await until(lambda: find(admin, CONFIG_MAP, "shop", "kube-root-ca.crt"))
    assert authority["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE")
    await admin.delete(SERVICE_ACCOUNT, "shop", "default")
    await until(lambda: find(admin, SERVICE_ACCOUNT, "shop", "default"))


async def test_endpoints_follow_the_readiness_of_pods(admin: Client) -> None:
    await create_namespace(admin, "shop")
    await create_node(admin)
    service = await create_service(admin)
    (empty,) = await until(lambda: slices(admin))
    assert not empty.get("endpoints")
    assert empty["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"]
    assert empty["metadata"]["labels"]["team"] == "a"

    await create_pod(admin, "web-1", ready=False)
    not_ready = {"ready": False, "serving": False, "terminating": False}
    await until(lambda: _equals(conditions(admin), {"web-1": not_ready}))

    await set_status(admin, "web-1", ready=True)
    ready = {"ready": True, "serving": True, "terminating": False}
    await until(lambda: _equals(conditions(admin), {"web-1": ready}))
    (found,) = await slices(admin)
    assert found["metadata"]["name"] == empty["metadata"]["name"]
    assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert found["endpoints"][0]["addresses"] == ["10.244.0.7"]

    async def old_form() -> bool:
        endpoints = await admin.get(ENDPOINTS, "shop", "web")
        return [len(subset.get("addresses", ())) for subset in endpoints.get("subsets") or ()] == [1]

    await until(old_form)

    await admin.delete(POD, "shop", "web-1", grace_period_seconds=30)
    draining = {"ready": False, "serving": True, "terminating": True}
    await until(lambda: _equals(conditions(admin), {"web-1": draining}))
    await admin.delete(POD, "shop", "web-1", grace_period_seconds=0)
    await until(lambda: _equals(conditions(admin), {}))

    await admin.delete(SERVICE, "shop", "web")
    await until(lambda: _equals(slices(admin), []))
    await until(lambda: _is_gone(admin, ENDPOINTS, "shop", "web"))


async def test_what_others_change_in_a_slice_is_put_right(admin: Client) -> None:
    await create_namespace(admin, "shop")
    await create_service(admin)
    await create_pod(admin, "web-1")
    (found,) = await until(lambda: _if_endpoints(admin))
    await admin.patch(ENDPOINT_SLICE, "shop", found["metadata"]["name"], {"endpoints": []})
    assert (await until(lambda: _if_endpoints(admin)))[0]["endpoints"] == found["endpoints"]
    await admin.delete(ENDPOINT_SLICE, "shop", found["metadata"]["name"])
    assert (await until(lambda: _if_endpoints(admin)))[0]["endpoints"] == found["endpoints"]


async def test_a_namespace_goes_with_all_that_is_in_it(admin: Client) -> None:
    await create_namespace(admin, "shop")
    await create_node(admin)
    await create_service(admin)
    await create_pod(admin, "web-1")
    secret = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "namespace": "shop"}}
    secret["metadata"]["finalizers"] = ["example.com/hold"]  # type: ignore[index]
    await admin.create(CONFIG_MAP, secret)

    await admin.delete(NAMESPACE, "", "shop")
    pod = await until(lambda: _if_terminating(admin, POD, "shop", "web-1"))
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert await find(admin, SERVICE, "shop", "web"), "pods end first"
    await admin.delete(POD, "shop", "web-1", grace_period_seconds=0)
    await until(lambda: _is_gone(admin, SERVICE, "shop", "web"))

    async def says_what_remains() -> bool:
        namespace = await admin.get(NAMESPACE, "", "shop")
        texts = [found["message"] for found in namespace["status"].get("conditions", ())]
        return texts == ["Some resources are remaining: configmaps has 1 resource instances"]

    await until(says_what_remains)
    await admin.patch(CONFIG_MAP, "shop", "held", {"metadata": {"finalizers": None}})
    await until(lambda: _is_gone(admin, NAMESPACE, "", "shop"))
    assert await slices(admin) == []
    with pytest.raises((NotFoundError, ApiForbiddenError)):
        await create_service(admin)


async def test_a_pod_on_a_node_that_is_gone_is_cleared_away(admin: Client) -> None:
    await create_namespace(admin, "shop")
    await create_pod(admin, "web-1")
    await admin.delete(POD, "shop", "web-1", grace_period_seconds=30)
    await until(lambda: _is_gone(admin, POD, "shop", "web-1"))


async def test_controllers_outlive_the_api_server(tmp_path: Path) -> None:
    async with run_process(tmp_path) as server, running_controllers(server) as admin:
        await create_namespace(admin, "shop")
        await create_node(admin)
        await create_service(admin)
        await create_pod(admin, "web-1")
        await until(lambda: _if_endpoints(admin))
        for life in range(2):
            await admin.delete(NAMESPACE, "", "shop")
            await admin.delete(POD, "shop", "web-1", grace_period_seconds=0)
            await server.restart(signal.SIGKILL)
            await until(lambda: _is_gone(admin, NAMESPACE, "", "shop"))
            await create_namespace(admin, "shop")
            await create_service(admin)
            await create_pod(admin, "web-1", ip=f"10.244.0.{life}")
            (found,) = await until(lambda: _if_endpoints(admin))
            assert found["endpoints"][0]["addresses"] == [f"10.244.0.{life}"]


async def _equals(actual: Any, expected: object) -> bool:
    return bool(await actual == expected)


async def _is_gone(client: Client, kind: Kind, namespace: str, name: str) -> bool:
    return await find(client, kind, namespace, name) is None


async def _if_terminating(client: Client, kind: Kind, namespace: str, name: str) -> JsonObject | None:
    found = await find(client, kind, namespace, name)
    return found if found and found["metadata"].get("deletionTimestamp") else None


async def _if_endpoints(client: Client) -> list[JsonObject] | None:
    found = await slices(client)
    return found if found and found[0].get("endpoints") else None
