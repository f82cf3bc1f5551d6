"""The machine's own kubectl against a real server: what a user types and sees."""

import asyncio
import datetime
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lateen.base.errors import NotFoundError
from lateen.cluster.apiserver.strategy import format_time
from lateen.testing.apiserver import MERGE_PATCH, RunningServer
from lateen.testing.poll import until

MANIFEST = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 8000, targetPort: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - {name: web, image: docker.io/mccutchen/go-httpbin:v2.15.0, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web, version: v1}}
spec:
  serviceAccountName: web
  containers:
  - {name: web, image: docker.io/mccutchen/go-httpbin:v2.15.0, ports: [{containerPort: 80}]}
  - {name: proxy, image: proxy}
"""


class Logs:
    """A node that knows the logs of one pod."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    async def logs(self, namespace: str, name: str, container: str, **options: Any) -> AsyncIterator[bytes]:
        self.asked = {"namespace": namespace, "name": name, "container": container, **options}
        if options["previous"]:
            raise NotFoundError(f'previous terminated container "{container}" in pod "{name}" not found')
        for number in range(3):
            yield f"{container} {number}\n".encode()


async def run_pod(api: RunningServer) -> None:
    """What a node would write about the pod."""
    started = format_time(datetime.datetime.now(datetime.UTC))
    statuses = [
        {
            "name": name,
            "ready": True,
            "restartCount": 0,
            "image": name,
            "imageID": "",
            "state": {"running": {"startedAt": started}},
        }
        for name in ("web", "proxy")
    ]
    status = {
        "phase": "Running",
        "podIP": "10.244.0.7",
        "podIPs": [{"ip": "10.244.0.7"}],
        "hostIP": "127.0.0.1",
        "startTime": started,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": started}],
        "containerStatuses": statuses,
    }
    path = "/api/v1/namespaces/default/pods/web-1"
    bound = await api.request("POST", f"{path}/binding", {"target": {"name": "lateen"}}, token="node")
    assert bound.status == 201, bound.body
    written = await api.request("PATCH", f"{path}/status", {"status": status}, token="node", media_type=MERGE_PATCH)
    assert written.status == 200, written.body


@pytest.fixture
async def web(api: RunningServer) -> RunningServer:
    output = await api.kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert output.out.splitlines() == [
        "serviceaccount/web created",
        "service/web created",
        "deployment.apps/web created",
        "pod/web-1 created",
    ]
    return api


async def test_versions_and_resources_are_discovered(api: RunningServer) -> None:
    assert "Server Version: v1.34" in (await api.kubectl("version")).out
    lines = (await api.kubectl("api-resources", "--no-headers")).out.splitlines()
    assert any(line.split() == ["deployments", "deploy", "apps/v1", "true", "Deployment"] for line in lines)
    assert "events.k8s.io/v1" in (await api.kubectl("api-versions")).out


async def test_applying_again_changes_only_what_differs(web: RunningServer) -> None:
    again = await web.kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert again.out.splitlines()[1:3] == ["service/web unchanged", "deployment.apps/web unchanged"]
    changed = await web.kubectl("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 2", "replicas: 3"))
    assert "deployment.apps/web configured" in changed.out
    deployment = json.loads((await web.kubectl("get", "deploy", "web", "-o", "json")).out)
    assert deployment["spec"]["replicas"] == 3


async def test_get_prints_tables_as_kubernetes_does(web: RunningServer) -> None:
    await run_pod(web)
    header, row = (await web.kubectl("get", "pods", "-o", "wide")).out.splitlines()
    assert header.split() == [
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP",
        "NODE",
        "NOMINATED",
        "NODE",
        "READINESS",
        "GATES",
    ]
    assert row.split()[:4] == ["web-1", "2/2", "Running", "0"]
    assert row.split()[5:] == ["10.244.0.7", "lateen", "<none>", "<none>"]
    header, *rows = (await web.kubectl("get", "svc", "-A", "--show-labels")).out.splitlines()
    assert header.split()[0] == "NAMESPACE"
    assert any(line.split()[:3] == ["default", "web", "ClusterIP"] and line.endswith("app=web") for line in rows)
    listed = (await web.kubectl("get", "all", "-l", "app=web", "-o", "name")).out.split()
    assert listed == ["pod/web-1", "service/web", "deployment.apps/web"]
    assert (await web.kubectl("get", "pod", "web-1", "-o", "jsonpath={.status.podIP}")).out == "10.244.0.7"
    assert "kind: Pod" in (await web.kubectl("get", "pod", "web-1", "-o", "yaml")).out


async def test_get_watches(web: RunningServer) -> None:
    process = await web.start_kubectl("get", "pods", "-w", "--no-headers")
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()
        assert line[:3] == ["web-1", "0/2", "Pending"]
        await run_pod(web)
        states = []
        while line[2] != "Running":
            line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()
            states.append(line[:3])
        assert states[-1] == ["web-1", "2/2", "Running"]
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def test_describe_shows_the_object_and_its_events(web: RunningServer) -> None:
    pod = json.loads((await web.kubectl("get", "pod", "web-1", "-o", "json")).out)
    reference = {"kind": "Pod", "namespace": "default", "name": "web-1", "uid": pod["metadata"]["uid"]}
    event = {
        "metadata": {"name": "web-1.1"},
        "involvedObject": reference,
        "reason": "Pulled",
        "message": "Image is there",
        "type": "Normal",
        "count": 1,
        "source": {"component": "node"},
    }
    await web.create("/api/v1/namespaces/default/events", event)
    described = (await web.kubectl("describe", "pod", "web-1")).out
    assert "Service Account:  web" in described
    assert "kube-api-access-" in described
    assert "Image is there" in described
    described = " ".join((await web.kubectl("describe", "svc", "web")).out.split())
    assert "Type: ClusterIP" in described
    assert "IP: 10.96." in described
    assert "Image is there" in (await web.kubectl("get", "events")).out


async def test_edits_are_patches(web: RunningServer) -> None:
    await web.kubectl("patch", "deploy", "web", "-p", '{"spec":{"replicas":4}}')
    await web.kubectl("patch", "deploy", "web", "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels/app"}]')
    await web.kubectl("label", "deploy", "web", "tier=front")
    await web.kubectl("annotate", "svc", "web", "note=hello")
    await web.kubectl("set", "image", "deploy/web", "web=other:1")
    found = json.loads((await web.kubectl("get", "deploy", "web", "-o", "json")).out)
    assert (found["spec"]["replicas"], found["metadata"]["labels"]) == (4, {"tier": "front"})
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "other:1"


async def test_delete_waits_until_the_object_is_gone(web: RunningServer) -> None:
    deleting = asyncio.create_task(web.kubectl("delete", "deploy/web", "svc/web", "pod/web-1"))
    assert 'pod "web-1" deleted' in (await deleting).out
    missing = await web.kubectl("get", "pod", "web-1", expect=1)
    assert missing.err == 'Error from server (NotFound): pods "web-1" not found\n'
    again = await web.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=MANIFEST)
    assert again.out.splitlines() == ['serviceaccount "web" deleted']


async def test_wait_returns_when_the_condition_holds(web: RunningServer) -> None:
    waiting = asyncio.create_task(web.kubectl("wait", "--for=condition=Ready", "pod/web-1", "--timeout=30s"))
    await until(lambda: bool(web.store._watches.get("pods")), what="kubectl watches the pod")
    await run_pod(web)
    assert (await waiting).out == "pod/web-1 condition met\n"
    timed_out = await web.kubectl("wait", "--for=condition=Never", "pod/web-1", "--timeout=1s", expect=1)
    assert "timed out" in timed_out.err


async def test_explain_reads_the_schemas(api: RunningServer) -> None:
    explained = (await api.kubectl("explain", "deployment.spec.template.spec.containers.image")).out
    assert "GROUP:      apps" in explained
    assert "FIELD: image <string>" in explained
    assert "subsets" in (await api.kubectl("explain", "endpoints")).out


async def test_logs_come_from_the_node(web: RunningServer) -> None:
    web.server.pod_io = node = Logs()
    await run_pod(web)
    assert (await web.kubectl("logs", "web-1", "-c", "web", "--tail=5")).out == "web 0\nweb 1\nweb 2\n"
    assert (node.asked["container"], node.asked["tail_lines"], node.asked["follow"]) == ("web", 5, False)
    assert (await web.kubectl("logs", "web-1", "-c", "proxy", "-f", "--since=1h", "--timestamps")).out.startswith(
        "proxy 0"
    )
    assert (node.asked["follow"], node.asked["timestamps"], bool(node.asked["since"])) == (True, True, True)
    assert "previous terminated container" in (await web.kubectl("logs", "web-1", "-c", "web", "-p", expect=1)).err
    assert "container none is not valid" in (await web.kubectl("logs", "web-1", "-c", "none", expect=1)).err


@pytest.mark.parametrize(
    ("arguments", "stdin", "text"),
    [
        (("apply", "-f", "-"), MANIFEST.replace("replicas", "replicaz"), 'unknown field "spec.replicaz"'),
        (("apply", "-f", "-"), MANIFEST.replace("replicas: 2", "replicas: two"), "replicas"),
        (("apply", "-f", "-"), MANIFEST.replace("name: web-1", "name: Web_1"), "RFC 1123"),
        (("apply", "-f", "-"), MANIFEST.replace("kind: Pod", "kind: Pot"), 'no matches for kind "Pot"'),
        (("create", "-f", "-"), "{", "error"),
        (("get", "nothings"), "", "the server doesn't have a resource type"),
        (("get", "secret", "x"), "", 'secrets "x" not found'),
        (("delete", "ns", "default"), "", "this namespace may not be deleted"),
        (("patch", "svc", "kubernetes", "-p", '{"spec":{"clusterIP":"1.2.3.4"}}'), "", "clusterIP"),
        (("apply", "--server-side", "-f", "-"), MANIFEST, "server-side apply is not supported"),
    ],
)
async def test_mistakes_are_one_clear_message(
    api: RunningServer, arguments: tuple[str, ...], stdin: str, text: str
) -> None:
    output = await api.kubectl(*arguments, stdin=stdin, expect=1)
    assert text in output.err
    assert "Traceback" not in output.err


async def test_generators_send_protobuf_and_are_understood(api: RunningServer) -> None:
    await api.kubectl("create", "namespace", "shop")
    await api.kubectl("create", "-n", "shop", "configmap", "a", "--from-literal=x=1")
    await api.kubectl("create", "-n", "shop", "secret", "generic", "s", "--from-literal=password=x")
    await api.kubectl("create", "-n", "shop", "deployment", "web", "--image=web:1", "--port=80", "--replicas=0")
    await api.kubectl("expose", "-n", "shop", "deployment/web", "--port=8080")
    deployment = json.loads((await api.kubectl("get", "-n", "shop", "deploy", "web", "-o", "json")).out)
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (0, "RollingUpdate")
    secret = json.loads((await api.kubectl("get", "-n", "shop", "secret", "s", "-o", "json")).out)
    assert (secret["type"], secret["data"]) == ("Opaque", {"password": "eA=="})
    assert "kubernetes-admin" in (await api.kubectl("auth", "whoami")).out
    assert (await api.kubectl("auth", "can-i", "delete", "nodes")).out == "yes\n"
    token = (await api.kubectl("create", "token", "default", "-n", "shop", "--audience=istio-ca")).out
    assert api.server.issuer.check(token, ["istio-ca"]).namespace == "shop"
