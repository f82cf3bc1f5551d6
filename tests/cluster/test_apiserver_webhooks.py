import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from lateen.cluster.pki import open_pki
from lateen.testing.apiserver import MERGE_PATCH, RunningServer, run_apiserver

MAPS = "/api/v1/namespaces/default/configmaps"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations"

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Webhook:
    """A webhook server that records what it is asked."""

    def __init__(self, directory: Path) -> None:
        self.pki = open_pki(directory)
        self.requests: list[dict[str, Any]] = []
        self.answer: Answer = lambda _: {"allowed": True}
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        asked = (await request.json())["request"]
        self.requests.append(asked)
        answer = self.answer(asked)
        if delay := answer.pop("delay", 0):
            await asyncio.sleep(delay)
        review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}
        return web.json_response(review | {"response": {"uid": asked["uid"]} | answer})

    @property
    def ca_bundle(self) -> str:
        return base64.b64encode(self.pki.ca_pem).decode()

    def configuration(self, kind: str, *, names: tuple[str, ...] = ("one",), **overrides: Any) -> dict[str, Any]:
        def build(name: str) -> dict[str, Any]:
            return {
                "name": f"{name}.example.com",
                "clientConfig": {"url": f"https://127.0.0.1:{self.port}/{name}", "caBundle": self.ca_bundle},
                "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                **overrides,
            }

        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind.title()}WebhookConfiguration",
            "metadata": {"name": "test"},
            "webhooks": [build(name) for name in names],
        }


@asynccontextmanager
async def serve(webhook: Webhook) -> AsyncIterator[Webhook]:
    runner = web.ServerRunner(web.Server(webhook.handle), shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    webhook.port = listener.getsockname()[1]
    await web.SockSite(runner, listener, ssl_context=webhook.pki.build_server_context()).start()
    try:
        yield webhook
    finally:
        await runner.cleanup()


@pytest.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[Webhook]:
    async with serve(Webhook(tmp_path / "webhook")) as running:
        yield running


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(msgspec.json.encode(operations)).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def add_data(name: str) -> dict[str, Any]:
    return patch({"op": "add", "path": "/data", "value": {name: "added"}})


async def configure(api: RunningServer, kind: str, configuration: dict[str, Any]) -> None:
    await api.create(CONFIGURATIONS.format(kind), configuration)


async def test_a_mutating_webhook_changes_what_is_stored(api: RunningServer, webhook: Webhook) -> None:
    await configure(api, "mutating", webhook.configuration("mutating"))
    webhook.answer = lambda _: add_data("x") | {"warnings": ["careful"]}
    answer = await api.request("POST", MAPS, {"metadata": {"name": "a"}}, fieldManager="me")
    assert (answer.status, answer.document["data"], answer.warnings) == (201, {"x": "added"}, ['299 - "careful"'])
    (asked,) = webhook.requests
    assert (asked["operation"], asked["namespace"], asked["name"], asked["dryRun"]) == ("CREATE", "default", "a", False)
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert asked["userInfo"]["username"] == "kubernetes-admin"
    assert asked["object"]["kind"] == "ConfigMap"
    assert asked["options"]["kind"] == "CreateOptions"


async def test_a_validating_webhook_sees_the_final_object_and_refuses_with_its_words(
    api: RunningServer, webhook: Webhook
) -> None:
    await api.create(MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
    await configure(api, "validating", webhook.configuration("validating"))
    webhook.answer = lambda _: {"allowed": False, "status": {"message": "not today", "code": 409, "reason": "Conflict"}}
    answer = await api.request("PATCH", f"{MAPS}/a", {"data": {"x": "2"}}, media_type=MERGE_PATCH)
    assert (answer.status, answer.document["reason"]) == (409, "Conflict")
    assert answer.message == 'admission webhook "one.example.com" denied the request: not today'
    assert (webhook.requests[0]["object"]["data"], webhook.requests[0]["oldObject"]["data"]) == ({"x": "2"}, {"x": "1"})
    webhook.answer = lambda _: {"allowed": False}
    answer = await api.request("DELETE", f"{MAPS}/a")
    assert (answer.status, "without explanation" in answer.message) == (403, True)
    assert (webhook.requests[-1]["object"], webhook.requests[-1]["oldObject"]["data"]) == (None, {"x": "1"})
    assert (await api.get(f"{MAPS}/a"))["data"] == {"x": "1"}


@pytest.mark.parametrize(
    ("selector", "called"),
    [
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"injected": "yes"}}}, False),
        ({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}}, True),
        ({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}, False),
        ({"rules": [{"operations": ["DELETE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]}, False),
        ({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]}, True),
        (
            {"rules": [{"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["*"], "resources": ["*"]}]},
            False,
        ),
    ],
)
async def test_rules_and_selectors_decide_who_is_asked(
    api: RunningServer, webhook: Webhook, selector: dict[str, Any], called: bool
) -> None:
    await configure(api, "validating", webhook.configuration("validating", **selector))
    await api.create(MAPS, {"metadata": {"name": "a", "labels": {"app": "web"}}})
    assert bool(webhook.requests) is called


@pytest.mark.parametrize(("policy", "status"), [("Fail", 500), ("Ignore", 201)])
@pytest.mark.parametrize("fault", ["nobody listens", "too slow", "wrong authority", "wrong answer"])
async def test_the_failure_policy_decides_what_a_broken_webhook_means(
    api: RunningServer, webhook: Webhook, policy: str, status: int, fault: str, tmp_path: Path
) -> None:
    overrides: dict[str, Any] = {"failurePolicy": policy, "timeoutSeconds": 1}
    configuration = webhook.configuration("validating", **overrides)
    client = configuration["webhooks"][0]["clientConfig"]
    match fault:
        case "nobody listens":
            client["url"] = "https://127.0.0.1:1/"
        case "too slow":
            webhook.answer = lambda _: {"allowed": True, "delay": 30}
        case "wrong authority":
            client["caBundle"] = base64.b64encode(open_pki(tmp_path / "other").ca_pem).decode()
        case "wrong answer":
            webhook.answer = lambda _: {"uid": "another"}
    await configure(api, "validating", configuration)
    answer = await api.request("POST", MAPS, {"metadata": {"name": "a"}})
    assert answer.status == status, answer.body
    text = answer.message if status == 500 else answer.warnings[0]
    assert "failed calling webhook" in text


async def test_webhooks_are_asked_again_when_a_later_one_changed_the_object(
    api: RunningServer, webhook: Webhook
) -> None:
    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        labels = asked["object"]["metadata"].get("labels") or {}
        if len(webhook.requests) == 2:
            return patch({"op": "add", "path": "/metadata/labels", "value": {"second": "was-here"}})
        return {"allowed": True, "warnings": ["saw it"] if labels else []}

    webhook.answer = answer
    await configure(api, "mutating", webhook.configuration("mutating", names=("a", "b"), reinvocationPolicy="IfNeeded"))
    answered = await api.request("POST", MAPS, {"metadata": {"name": "a"}})
    assert answered.document["metadata"]["labels"] == {"second": "was-here"}
    assert (len(webhook.requests), answered.warnings) == (3, ['299 - "saw it"'])


async def test_a_dry_run_asks_only_webhooks_without_side_effects(api: RunningServer, webhook: Webhook) -> None:
    await configure(api, "validating", webhook.configuration("validating"))
    await api.create(MAPS, {"metadata": {"name": "a"}}, dryRun="All")
    assert webhook.requests[0]["dryRun"] is True


async def test_a_service_is_dialled_through_the_resolver_and_checked_by_its_name(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path / "webhook")
    asked: list[tuple[str, str, int]] = []

    async def resolve(namespace: str, name: str, port: int) -> socket.socket:
        asked.append((namespace, name, port))
        connected = socket.socket()
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", webhook.port))
        return connected

    async with serve(webhook), run_apiserver(tmp_path / "api", resolve=resolve) as api:
        reference = {
            "service": {"namespace": "default", "name": "kubernetes", "path": "/inject"},
            "caBundle": webhook.ca_bundle,
        }
        await configure(api, "validating", webhook.configuration("validating", clientConfig=reference))
        await api.create(MAPS, {"metadata": {"name": "a"}})
        assert asked == [("default", "kubernetes", 443)]
        reference["service"] = {"namespace": "shop", "name": "other"}
        body = webhook.configuration("validating", clientConfig=reference)
        answer = await api.request("PUT", CONFIGURATIONS.format("validating") + "/test", body)
        assert answer.status == 200, answer.body
        refused = await api.request("POST", MAPS, {"metadata": {"name": "b"}})
        assert (refused.status, "other.shop.svc" in refused.message) == (500, True)


async def test_match_conditions_are_refused_when_they_are_configured(api: RunningServer, webhook: Webhook) -> None:
    body = webhook.configuration("validating", matchConditions=[{"name": "a", "expression": "true"}])
    answer = await api.request("POST", CONFIGURATIONS.format("validating"), body)
    assert (answer.status, "matchConditions are not supported" in answer.message) == (422, True)


async def test_services_are_dialled_at_their_ready_endpoints(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path / "webhook")
    dialled: list[tuple[str, int]] = []

    async def connect(address: str, port: int) -> socket.socket:
        dialled.append((address, port))
        connected = socket.socket()
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", webhook.port))
        return connected

    async with serve(webhook), run_apiserver(tmp_path / "api") as api:
        api.server.use_pod_network(connect)
        reference = {"service": {"namespace": "default", "name": "kubernetes"}, "caBundle": webhook.ca_bundle}
        await configure(api, "validating", webhook.configuration("validating", clientConfig=reference))
        await api.create(MAPS, {"metadata": {"name": "a"}})
        assert dialled == [("10.244.0.1", int(api.url.rpartition(":")[2]))]
        body = webhook.configuration(
            "validating", clientConfig=reference | {"service": {"namespace": "default", "name": "none"}}
        )
        assert (await api.request("PUT", CONFIGURATIONS.format("validating") + "/test", body)).status == 200
        answer = await api.request("POST", MAPS, {"metadata": {"name": "b"}})
        assert (answer.status, 'service "none" not found' in answer.message) == (500, True)


async def test_containers_that_a_webhook_adds_get_the_token_too(api: RunningServer, webhook: Webhook) -> None:
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]
    await configure(api, "mutating", webhook.configuration("mutating", rules=rules))
    container = {"name": "proxy", "image": "proxy"}
    webhook.answer = lambda _: patch({"op": "add", "path": "/spec/containers/-", "value": container})
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    pod = await api.create("/api/v1/namespaces/default/pods", body)
    mounts = [[mount["mountPath"] for mount in one["volumeMounts"]] for one in pod["spec"]["containers"]]
    assert mounts == [["/var/run/secrets/kubernetes.io/serviceaccount"]] * 2
    assert len(pod["spec"]["volumes"]) == 1
