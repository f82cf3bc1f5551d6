"""Deployments, ReplicaSets, Jobs and garbage on the real API server, as kubectl shows them; pods run nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lateen.api.objects import JsonObject
from lateen.cluster.controllers.collector import collect_garbage
from lateen.cluster.controllers.loop import run
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.testing.apiserver import RunningServer, run_apiserver
from lateen.testing.poll import until
from lateen.testing.pretend_node import PretendNode, run_pretend_node

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {kubernetes.io/change-cause: first}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: web:1}]
"""


@dataclass
class Cluster:
    """An API server with controllers and a node that runs nothing."""

    api: RunningServer
    node: PretendNode

    async def kubectl(self, *arguments: str, stdin: str = "", expect: int = 0) -> str:
        return (await self.api.kubectl(*arguments, stdin=stdin, expect=expect)).out

    async def items(self, words: str) -> list[JsonObject]:
        found: list[JsonObject] = json.loads(await self.kubectl("get", *words.split(), "-o", "json"))["items"]
        return found

    async def get(self, words: str) -> JsonObject:
        found: JsonObject = json.loads(await self.kubectl("get", *words.split(), "-o", "json"))
        return found


@asynccontextmanager
async def running(*tasks: Awaitable[Any]) -> AsyncIterator[None]:
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
        for task in started:
            assert not task.done(), task.exception()
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with run_apiserver(tmp_path) as api:
        system = load_config(tmp_path / "components/controllers.kubeconfig")
        async with (
            Client(system) as controllers,
            Client(load_config(tmp_path / "kubeconfig")) as admin,
            running(run(controllers), collect_garbage(controllers, api.store, api.server.registry)),
            run_pretend_node(admin) as node,
        ):
            yield Cluster(api, node)


async def rolled_out(cluster: Cluster) -> str:
    return await cluster.kubectl("rollout", "status", "deploy/web", "--timeout=30s")


async def test_a_deployment_rolls_out_and_back(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", "-", stdin=WEB)
    assert 'deployment "web" successfully rolled out' in await rolled_out(cluster)
    (first,) = await cluster.items("rs -l app=web")
    hash_ = first["metadata"]["labels"]["pod-template-hash"]
    assert first["metadata"]["name"] == f"web-{hash_}"
    assert first["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
    for pod in await cluster.items("pods"):
        stem, _, letters = pod["metadata"]["name"].rpartition("-")
        assert (stem, len(letters)) == (f"web-{hash_}", 5)
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": hash_}
        assert pod["metadata"]["ownerReferences"][0]["uid"] == first["metadata"]["uid"]

    await cluster.kubectl("set", "image", "deploy/web", "web=web:2")
    await cluster.kubectl("annotate", "deploy/web", "kubernetes.io/change-cause=second", "--overwrite")
    await rolled_out(cluster)
    assert {pod["spec"]["containers"][0]["image"] for pod in await live_pods(cluster)} == {"web:2"}
    history = await cluster.kubectl("rollout", "history", "deploy/web")
    assert [line.split() for line in history.splitlines()[2:4]] == [["1", "first"], ["2", "second"]]

    await cluster.kubectl("rollout", "undo", "deploy/web")
    await rolled_out(cluster)
    assert {pod["spec"]["containers"][0]["image"] for pod in await live_pods(cluster)} == {"web:1"}
    deployment = await cluster.get("deploy web")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    again = {one["metadata"]["uid"]: one for one in await cluster.items("rs")}[first["metadata"]["uid"]]
    assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"

    await cluster.kubectl("rollout", "restart", "deploy/web")
    await rolled_out(cluster)
    assert len(await cluster.items("rs")) == 3
    row = (await cluster.kubectl("get", "deploy", "web")).splitlines()[1].split()
    assert row[:4] == ["web", "3/3", "3", "3"]
    assert "ScalingReplicaSet" in await cluster.kubectl("describe", "deploy", "web")


async def live_pods(cluster: Cluster) -> list[JsonObject]:
    return [pod for pod in await cluster.items("pods") if "deletionTimestamp" not in pod["metadata"]]


async def test_a_rollout_keeps_within_its_bounds_and_says_when_it_is_stuck(cluster: Cluster) -> None:
    text = WEB.replace("  replicas: 3", "  replicas: 4\n  progressDeadlineSeconds: 1")
    await cluster.kubectl("apply", "-f", "-", stdin=text)
    await rolled_out(cluster)
    cluster.node.judge = lambda pod: "NotReady" if pod["spec"]["containers"][0]["image"] == "web:2" else "Ready"
    await cluster.kubectl("set", "image", "deploy/web", "web=web:2")

    async def is_stuck() -> bool:
        status = (await cluster.get("deploy web"))["status"]
        return any(one["reason"] == "ProgressDeadlineExceeded" for one in status["conditions"])

    await until(is_stuck)
    pods = await live_pods(cluster)
    images = [pod["spec"]["containers"][0]["image"] for pod in pods]
    assert (images.count("web:1"), images.count("web:2")) == (3, 2), "25 % may be missing, 25 % too many"
    assert (
        "exceeded its progress deadline" in (await cluster.api.kubectl("rollout", "status", "deploy/web", expect=1)).err
    )

    cluster.node.judge = lambda pod: "Ready"
    cluster.node.look_again()
    await rolled_out(cluster)
    assert len(await live_pods(cluster)) == 4


async def test_recreate_ends_every_old_pod_first(cluster: Cluster) -> None:
    text = WEB.replace("  replicas: 3", "  replicas: 2\n  strategy: {type: Recreate}")
    await cluster.kubectl("apply", "-f", "-", stdin=text.replace("PeriodSeconds: 0", "PeriodSeconds: 30"))
    await rolled_out(cluster)
    cluster.node.ends = False
    await cluster.kubectl("set", "image", "deploy/web", "web=web:2")
    await until(lambda: has_count(cluster, lambda pod: "deletionTimestamp" in pod["metadata"], 2))
    assert len(await cluster.items("pods")) == 2
    cluster.node.ends = True
    cluster.node.look_again()
    await rolled_out(cluster)
    assert cluster.node.most == 2


async def has_count(cluster: Cluster, matches: Callable[[JsonObject], bool], count: int) -> bool:
    return sum(map(matches, await cluster.items("pods"))) == count


async def test_scaling_a_paused_deployment(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", "-", stdin=WEB)
    await rolled_out(cluster)
    assert "deployment.apps/web scaled" in await cluster.kubectl("scale", "deploy/web", "--replicas=5")
    await rolled_out(cluster)
    answer = await cluster.api.get("/apis/apps/v1/namespaces/default/deployments/web/scale")
    assert (answer["kind"], answer["spec"], answer["status"]) == (
        "Scale",
        {"replicas": 5},
        {"replicas": 5, "selector": "app=web"},
    )
    wrong = await cluster.api.kubectl("scale", "deploy/web", "--current-replicas=9", "--replicas=1", expect=1)
    assert "Expected replicas to be 9, was 5" in wrong.err
    await cluster.kubectl("rollout", "pause", "deploy/web")
    await cluster.kubectl("set", "image", "deploy/web", "web=web:2")
    await cluster.kubectl("scale", "deploy/web", "--replicas=2")
    await until(lambda: has_count(cluster, lambda pod: True, 2))
    assert len(await cluster.items("rs")) == 1
    await cluster.kubectl("rollout", "resume", "deploy/web")
    await rolled_out(cluster)
    assert {pod["spec"]["containers"][0]["image"] for pod in await live_pods(cluster)} == {"web:2"}
    await cluster.kubectl("scale", "rs", "--all", "--replicas=0")
    await rolled_out(cluster)


async def test_pods_are_adopted_replaced_and_let_go(cluster: Cluster) -> None:
    loose = {
        "metadata": {"name": "loose", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    await cluster.api.create("/api/v1/namespaces/default/pods", loose)
    selector = {"matchLabels": {"app": "web"}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": loose["spec"]}
    spec = {"replicas": 2, "selector": selector, "template": template}
    await cluster.api.create(
        "/apis/apps/v1/namespaces/default/replicasets", {"metadata": {"name": "web"}, "spec": spec}
    )
    await until(lambda: has_count(cluster, lambda pod: bool(pod["metadata"].get("ownerReferences")), 2))
    assert len(await cluster.items("pods")) == 2
    await cluster.kubectl("label", "pod", "loose", "app=other", "--overwrite")
    await until(lambda: has_count(cluster, lambda pod: not pod["metadata"].get("ownerReferences"), 1))
    await until(lambda: has_count(cluster, lambda pod: pod["metadata"]["labels"]["app"] == "web", 2))
    await cluster.kubectl("delete", "pod", "-l", "app=web", "--now")
    await until(lambda: has_count(cluster, lambda pod: pod["metadata"]["labels"]["app"] == "web", 2))


async def test_the_last_ready_goes_last(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", "-", stdin=WEB)
    await rolled_out(cluster)
    chosen = (await cluster.items("pods"))[0]["metadata"]["name"]
    cluster.node.judge = lambda pod: "Ready" if pod["metadata"]["name"] == chosen else "NotReady"
    cluster.node.look_again()
    await until(lambda: has_count(cluster, is_unready, 2))
    await cluster.kubectl("scale", "deploy/web", "--replicas=1")
    await until(lambda: has_count(cluster, lambda pod: True, 1))
    assert [pod["metadata"]["name"] for pod in await cluster.items("pods")] == [chosen]


def is_unready(pod: JsonObject) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "False" for one in pod["status"].get("conditions", ()))


async def test_pods_that_are_refused_are_told_and_made_once_they_may_be(cluster: Cluster) -> None:
    text = WEB.replace("    spec:\n", "    spec:\n      serviceAccountName: web\n")
    await cluster.kubectl("apply", "-f", "-", stdin=text)

    async def is_told() -> bool:
        return 'serviceaccount "web" not found' in await cluster.kubectl("describe", "rs", "-l", "app=web")

    await until(is_told)
    conditions = {one["type"]: one["status"] for one in (await cluster.get("deploy web"))["status"]["conditions"]}
    assert conditions["ReplicaFailure"] == "True"
    await cluster.kubectl("create", "serviceaccount", "web")
    await rolled_out(cluster)
    assert "ReplicaFailure" not in str((await cluster.get("deploy web"))["status"])


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
async def test_what_a_deployment_owns_goes_or_stays_with_it(cluster: Cluster, cascade: str) -> None:
    await cluster.kubectl("apply", "-f", "-", stdin=WEB)
    await rolled_out(cluster)
    await cluster.kubectl("delete", "deploy", "web", f"--cascade={cascade}")
    if cascade == "orphan":
        await until(lambda: has_no_owner(cluster))
        assert len(await cluster.items("pods")) == 3
        await cluster.kubectl("apply", "-f", "-", stdin=WEB)
        await rolled_out(cluster)
        assert len(await cluster.items("rs")) == 1, "the one that was left is adopted"
        return
    if cascade == "foreground":
        assert await cluster.items("rs") == []
    await until(lambda: has_count(cluster, lambda pod: True, 0))
    assert await cluster.items("rs") == []


async def has_no_owner(cluster: Cluster) -> bool:
    return not any(one["metadata"].get("ownerReferences") for one in await cluster.items("rs"))


async def test_an_object_whose_owner_never_was_goes_one_with_another_stays(cluster: Cluster) -> None:
    gone = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "never"}
    owner = await cluster.api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "owner"}})
    alive = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    strange = {"apiVersion": "example.com/v1", "kind": "Strange", "name": "x", "uid": "x"}
    for name, owners in (("a", [gone]), ("b", [gone, alive]), ("c", [strange])):
        await cluster.api.create(
            "/api/v1/namespaces/default/secrets", {"metadata": {"name": name, "ownerReferences": owners}}
        )

    async def are_judged() -> bool:
        found = {one["metadata"]["name"]: one["metadata"] for one in await cluster.items("secrets")}
        return found.keys() == {"b", "c"} and len(found["b"]["ownerReferences"]) == 1

    await until(are_judged)
    await cluster.kubectl("delete", "cm", "owner")

    async def only_the_unknown_is_left() -> bool:
        return [one["metadata"]["name"] for one in await cluster.items("secrets")] == ["c"]

    await until(only_the_unknown_is_left)


JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec:
  %s
  template:
    spec:
      restartPolicy: Never
      containers: [{name: work, image: work}]
"""


async def test_a_job_runs_until_enough_pods_succeeded(cluster: Cluster) -> None:
    cluster.node.judge = lambda pod: "Succeeded"
    await cluster.kubectl("apply", "-f", "-", stdin=JOB % "completions: 3\n  parallelism: 2")
    await cluster.kubectl("wait", "--for=condition=complete", "job/work", "--timeout=30s")
    job = await cluster.get("job work")
    assert (job["status"]["succeeded"], "completionTime" in job["status"]) == (3, True)
    assert len(await cluster.items("pods")) == 3
    assert (await cluster.kubectl("get", "job", "work")).splitlines()[1].split()[:3] == ["work", "Complete", "3/3"]
    await cluster.kubectl("delete", "job", "work")
    await until(lambda: has_count(cluster, lambda pod: True, 0))


async def test_a_job_fails_at_its_limit_and_is_removed_after_its_time(cluster: Cluster) -> None:
    cluster.node.judge = lambda pod: "Failed"
    await cluster.kubectl("apply", "-f", "-", stdin=JOB % "backoffLimit: 0\n  ttlSecondsAfterFinished: 1")
    await cluster.kubectl("wait", "--for=condition=failed", "job/work", "--timeout=30s")

    async def is_gone() -> bool:
        return not await cluster.items("jobs") and not await cluster.items("pods")

    await until(is_gone)


async def test_a_job_fails_at_its_deadline(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", "-", stdin=JOB % "activeDeadlineSeconds: 1")
    await cluster.kubectl("wait", "--for=condition=failed", "job/work", "--timeout=30s")
    (condition,) = [one for one in (await cluster.get("job work"))["status"]["conditions"] if one["type"] == "Failed"]
    assert condition["reason"] == "DeadlineExceeded"
    await until(lambda: has_count(cluster, lambda pod: True, 0))


async def test_a_load_balancer_has_the_hosts_address(cluster: Cluster) -> None:
    await cluster.kubectl("create", "service", "loadbalancer", "web", "--tcp=80:8080")
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"

    async def has_address() -> bool:
        return await cluster.kubectl("get", "service", "web", "-o", path) == "127.0.0.1"

    await until(has_address)
    await cluster.kubectl("patch", "service", "web", "-p", '{"spec": {"type": "ClusterIP"}}')

    async def has_none() -> bool:
        return (await cluster.get("service web"))["status"] == {"loadBalancer": {}}

    await until(has_none)
