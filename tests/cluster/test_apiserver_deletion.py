from typing import Any

import pytest

from lateen.testing.apiserver import MERGE_PATCH, RunningServer
from lateen.testing.poll import until

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "x"}], **spec}}


async def gone(api: RunningServer, path: str) -> bool:
    return (await api.request("GET", path)).status == 404


async def bind(api: RunningServer, name: str = "p") -> None:
    answer = await api.request("POST", f"{PODS}/{name}/binding", {"target": {"kind": "Node", "name": "lateen"}})
    assert answer.status == 201, answer.body


async def test_a_deleted_object_is_answered_by_a_status_that_names_it(api: RunningServer) -> None:
    created = await api.create(MAPS, {"metadata": {"name": "a"}})
    answer = await api.delete(f"{MAPS}/a")
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"] == {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    assert (await api.request("DELETE", f"{MAPS}/a")).status == 404


async def test_a_pod_that_runs_is_marked_first_and_goes_when_its_node_says_so(api: RunningServer) -> None:
    await api.create(PODS, pod(terminationGracePeriodSeconds=7))
    await bind(api)
    marked = await api.delete(f"{PODS}/p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 7
    assert marked["metadata"]["deletionTimestamp"] > marked["metadata"]["creationTimestamp"]
    assert (await api.delete(f"{PODS}/p"))["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    shorter = await api.delete(f"{PODS}/p", {"gracePeriodSeconds": 3})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 3
    final = await api.request("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0}, token="node")
    assert (final.status, await gone(api, f"{PODS}/p")) == (200, True)


async def test_a_pod_that_no_node_has_goes_at_once(api: RunningServer) -> None:
    await api.create(PODS, pod())
    assert (await api.delete(f"{PODS}/p"))["kind"] == "Pod"
    assert await gone(api, f"{PODS}/p")


async def test_a_pod_is_bound_once(api: RunningServer) -> None:
    await api.create(PODS, pod())
    await bind(api)
    bound = await api.get(f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "lateen"
    assert {c["type"]: c["status"] for c in bound["status"]["conditions"]} == {"PodScheduled": "True"}
    answer = await api.request("POST", f"{PODS}/p/binding", {"target": {"name": "other"}})
    assert (answer.status, "already assigned" in answer.message) == (409, True)


async def test_finalizers_hold_an_object_until_the_last_is_removed(api: RunningServer) -> None:
    body = {"metadata": {"name": "a", "finalizers": ["example.com/one", "example.com/two"]}}
    await api.create(MAPS, body)
    async with api.watch(MAPS, fieldSelector="metadata.name=a") as events:
        await events.next()
        marked = await api.delete(f"{MAPS}/a")
        assert marked["metadata"]["deletionTimestamp"]
        assert (await events.next())[0] == "MODIFIED"
        for finalizers in (["example.com/two"], []):
            patch = {"metadata": {"finalizers": finalizers}}
            assert (await api.request("PATCH", f"{MAPS}/a", patch, media_type=MERGE_PATCH)).status == 200
        assert [(await events.next())[0] for _ in range(2)] == ["MODIFIED", "DELETED"]
    assert await gone(api, f"{MAPS}/a")


async def test_preconditions_protect_an_object_of_the_same_name(api: RunningServer) -> None:
    created = await api.create(MAPS, {"metadata": {"name": "a"}})
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        answer = await api.request("DELETE", f"{MAPS}/a", {"preconditions": wrong})
        assert (answer.status, "Precondition failed" in answer.message) == (409, True)
    await api.delete(f"{MAPS}/a", {"preconditions": {"uid": created["metadata"]["uid"]}})


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
async def test_every_propagation_policy_is_accepted(api: RunningServer, policy: str) -> None:
    await api.create(MAPS, {"metadata": {"name": "a"}})
    await api.delete(f"{MAPS}/a", {"propagationPolicy": policy})
    assert (await api.request("DELETE", f"{MAPS}/a", {"propagationPolicy": "Never"})).status == 400


async def test_a_collection_is_deleted_by_selector(api: RunningServer) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        await api.create(MAPS, {"metadata": {"name": name, "labels": {"app": app}}})
    answer = await api.request("DELETE", MAPS, labelSelector="app=x")
    assert [item["metadata"]["name"] for item in answer.document["items"]] == ["a", "c"]
    names = [item["metadata"]["name"] for item in (await api.get(MAPS))["items"]]
    assert names == ["b", "kube-root-ca.crt"]


async def test_a_namespace_waits_for_its_finalizer_and_takes_nothing_new(api: RunningServer) -> None:
    created = await api.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    assert created["spec"]["finalizers"] == ["kubernetes"]
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert created["status"]["phase"] == "Active"
    marked = await api.delete("/api/v1/namespaces/shop")
    assert marked["status"]["phase"] == "Terminating"
    refused = await api.request("POST", "/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "a"}})
    assert (refused.status, refused.document["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    renamed = await api.request(
        "PUT", "/api/v1/namespaces/shop", created | {"spec": {"finalizers": []}, "metadata": {"name": "shop"}}
    )
    assert renamed.document["spec"]["finalizers"] == ["kubernetes"]
    body = marked | {"metadata": {"name": "shop"}, "spec": {"finalizers": []}}
    assert (await api.request("PUT", "/api/v1/namespaces/shop/finalize", body, token="controllers")).status == 200
    assert await gone(api, "/api/v1/namespaces/shop")


async def test_system_namespaces_are_there_and_stay(api: RunningServer) -> None:
    names = [item["metadata"]["name"] for item in (await api.get("/api/v1/namespaces"))["items"]]
    assert names == ["default", "istio-system", "kube-node-lease", "kube-public", "kube-system"]
    for name in ("default", "kube-system", "kube-public"):
        answer = await api.request("DELETE", f"/api/v1/namespaces/{name}")
        assert (answer.status, answer.document["reason"]) == (403, "Forbidden")


async def test_a_new_namespace_has_its_authority_and_account(api: RunningServer) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    authority = await api.get("/api/v1/namespaces/shop/configmaps/kube-root-ca.crt")
    assert authority["data"]["ca.crt"] == api.pki.ca_pem.decode()
    assert await api.get("/api/v1/namespaces/shop/serviceaccounts/default")


async def test_evicting_a_pod_deletes_it(api: RunningServer) -> None:
    await api.create(PODS, pod())
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await api.request("POST", f"{PODS}/p/eviction", body)).status == 201
    await until(lambda: gone(api, f"{PODS}/p"), what="the pod is gone")
