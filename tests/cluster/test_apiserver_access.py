from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lateen.base.errors import DataError
from lateen.cluster.apiserver.tokens import TokenIssuer
from lateen.testing.apiserver import MERGE_PATCH, RunningServer

PODS = "/api/v1/namespaces/default/pods"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
SELF_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
SELF_ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "x"}], **spec}}


async def token(api: RunningServer, **spec: Any) -> str:
    answer = await api.request("POST", TOKEN, {"spec": spec})
    assert answer.status == 201, answer.body
    return str(answer.document["status"]["token"])


async def review(api: RunningServer, token: str, *audiences: str, reviewer: str = "admin") -> dict[str, Any]:
    body = {"spec": {"token": token, "audiences": list(audiences)}}
    answer = await api.request("POST", TOKEN_REVIEWS, body, token=reviewer)
    assert answer.status == 201, answer.body
    status: dict[str, Any] = answer.document["status"]
    return status


@pytest.mark.parametrize("path", ["/version", "/healthz"])
async def test_everybody_may_ask_for_version_and_health(api: RunningServer, path: str) -> None:
    assert (await api.request("GET", path, token=None)).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz/ping"])
async def test_who_is_known_may_ask_how_the_server_is(api: RunningServer, path: str) -> None:
    assert (await api.request("GET", path, token="node")).status == 200


_CLOSED = ["/", "/api", "/apis", "/api/v1", "/openapi/v2", "/openapi/v3", "/api/v1/pods", "/apis/apps/v1/deployments"]


@pytest.mark.parametrize("path", [*_CLOSED, "/livez", "/readyz"])
async def test_anonymous_requests_reach_nothing_else(api: RunningServer, path: str) -> None:
    answer = await api.request("GET", path, token=None)
    assert (answer.status, answer.document["reason"]) == (403, "Forbidden")
    assert 'User "system:anonymous" cannot' in answer.message
    assert (await api.request("POST", SELF_REVIEWS, {}, token=None)).status == 403


@pytest.mark.parametrize("wrong", ["nonsense", "a.b.c", "", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_wrong_token_is_401_everywhere(api: RunningServer, wrong: str) -> None:
    for path in ("/version", "/api/v1/pods"):
        answer = await api.request("GET", path, token=wrong)
        assert (answer.status, answer.document["reason"]) == (401, "Unauthorized")


ALLOWED = [
    ("discovery", "GET", "/api/v1/pods"),
    ("discovery", "GET", "/apis"),
    ("discovery", "GET", "/api/v1/namespaces/istio-system/secrets/none"),
    ("controllers", "GET", "/apis/apps/v1/deployments"),
    ("controllers", "DELETE", "/api/v1/namespaces/default/secrets/none"),
    ("controllers", "PATCH", "/api/v1/namespaces/default/services/none/status"),
    ("controllers", "PATCH", "/apis/apps/v1/namespaces/default/replicasets/none"),
    ("node", "GET", "/api/v1/pods"),
    ("node", "PATCH", f"{PODS}/none/status"),
    ("node", "POST", f"{PODS}/none/binding"),
    ("node", "DELETE", f"{PODS}/none"),
]
REFUSED = [
    ("discovery", "POST", PODS),
    ("discovery", "DELETE", f"{PODS}/none"),
    ("discovery", "POST", TOKEN),
    ("discovery", "GET", "/api/v1/namespaces/default/secrets"),
    ("discovery", "POST", "/api/v1/namespaces/default/secrets"),
    ("discovery", "PUT", "/api/v1/namespaces/istio-system/secrets/none"),
    ("discovery", "PATCH", "/api/v1/namespaces/default/services/none"),
    ("discovery", "POST", "/apis/apps/v1/namespaces/default/deployments"),
    ("discovery", "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    ("controllers", "POST", TOKEN),
    ("controllers", "POST", TOKEN_REVIEWS),
    ("controllers", "GET", f"{PODS}/none/exec?command=id"),
    ("controllers", "GET", f"{PODS}/none/log"),
    ("controllers", "POST", f"{PODS}/none/binding"),
    ("controllers", "POST", "/api/v1/nodes"),
    ("controllers", "PUT", "/api/v1/namespaces/default/secrets/none"),
    ("controllers", "POST", "/apis/apps/v1/namespaces/default/deployments"),
    ("controllers", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"),
    ("controllers", "PUT", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/none"),
    ("node", "POST", PODS),
    ("node", "PUT", f"{PODS}/none"),
    ("node", "POST", TOKEN_REVIEWS),
    ("node", "PUT", "/api/v1/namespaces/default/secrets/none"),
    ("node", "DELETE", "/api/v1/namespaces/none"),
    ("node", "GET", "/apis/apps/v1/deployments"),
    ("node", "POST", "/api/v1/namespaces/default/serviceaccounts"),
]


@pytest.mark.parametrize(("component", "method", "path"), ALLOWED)
async def test_a_component_may_do_its_work(api: RunningServer, component: str, method: str, path: str) -> None:
    body = {"target": {"name": "n"}} if method == "POST" else {} if method == "PATCH" else None
    answer = await api.request(
        method, path, body, token=component, media_type=MERGE_PATCH if method == "PATCH" else "application/json"
    )
    assert answer.status in (200, 404), answer.body


@pytest.mark.parametrize(("component", "method", "path"), REFUSED)
async def test_a_component_is_refused_outside_its_list(
    api: RunningServer, component: str, method: str, path: str
) -> None:
    answer = await api.request(method, path, {} if method in ("POST", "PUT", "PATCH") else None, token=component)
    assert (answer.status, answer.document["reason"]) == (403, "Forbidden")
    assert 'User "system:' in answer.message


async def test_a_service_account_may_review_itself_and_nothing_else(api: RunningServer) -> None:
    own = await token(api)
    answer = await api.request("POST", SELF_REVIEWS, {}, token=own)
    info = answer.document["status"]["userInfo"]
    assert (answer.status, info["username"]) == (201, "system:serviceaccount:default:default")
    assert info["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    asked = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}}
    answer = await api.request("POST", SELF_ACCESS, asked, token=own)
    assert answer.document["status"]["allowed"] is False
    for method, path in (
        ("GET", PODS),
        ("GET", "/api"),
        ("GET", "/openapi/v3"),
        ("POST", TOKEN_REVIEWS),
        ("POST", TOKEN),
    ):
        refused = await api.request(method, path, {} if method == "POST" else None, token=own)
        assert refused.status == 403, (method, path)


async def test_the_administrator_may_do_everything(api: RunningServer) -> None:
    asked = {"spec": {"resourceAttributes": {"verb": "*", "resource": "*"}}}
    assert (await api.request("POST", SELF_ACCESS, asked)).document["status"] == {"allowed": True}


async def test_a_token_is_reviewed_for_its_audiences_only(api: RunningServer) -> None:
    for_ca = await token(api, audiences=["istio-ca"], expirationSeconds=600)
    found = await review(api, for_ca, "istio-ca", "other", reviewer="discovery")
    assert (found["authenticated"], found["audiences"]) == (True, ["istio-ca"])
    assert found["user"]["username"] == "system:serviceaccount:default:default"
    assert "authenticated" not in await review(api, for_ca)
    assert "authenticated" not in await review(api, for_ca, "other")
    assert (await api.request("GET", PODS, token=for_ca)).status == 401
    assert "invalid bearer token" in (await review(api, for_ca + "x", "istio-ca"))["error"]
    forged = for_ca.replace(for_ca.split(".")[1], (await token(api)).split(".")[1])
    assert "signature" in (await review(api, forged))["error"]


async def test_a_token_bound_to_a_pod_names_it_and_dies_with_it(api: RunningServer) -> None:
    created = await api.create(PODS, pod())
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": created["metadata"]["uid"]}
    own = await token(api, audiences=["istio-ca"], boundObjectRef=bound)
    extra = (await review(api, own, "istio-ca"))["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [created["metadata"]["uid"]]
    await api.delete(f"{PODS}/p")
    await api.create(PODS, pod())
    assert "no longer exists" in (await review(api, own, "istio-ca"))["error"]


async def test_a_token_is_bound_only_to_a_pod_of_its_account(api: RunningServer) -> None:
    await api.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "other"}})
    created = await api.create(PODS, pod(serviceAccountName="other"))
    for uid, status in ((created["metadata"]["uid"], 400), ("another", 409)):
        bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}
        assert (await api.request("POST", TOKEN, {"spec": {"boundObjectRef": bound}})).status == status
    short = await api.request("POST", TOKEN, {"spec": {"expirationSeconds": 10}})
    assert (short.status, short.document["details"]["causes"][0]["field"]) == (422, "spec.expirationSeconds")


async def test_a_node_gets_tokens_for_its_own_pods_only(api: RunningServer) -> None:
    await api.create(PODS, pod("own", nodeName="lateen"))
    await api.create(PODS, pod("other", nodeName="elsewhere"))
    answers = {}
    for name in ("own", "other", ""):
        spec = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name}} if name else {}
        answers[name] = (await api.request("POST", TOKEN, {"spec": spec}, token="node")).status
    assert answers == {"own": 201, "other": 403, "": 403}


async def test_a_token_expires_and_dies_with_its_account(api: RunningServer) -> None:
    account = await api.get("/api/v1/namespaces/default/serviceaccounts/default")
    moment = datetime.now(UTC)
    issuer = TokenIssuer(api.pki.signing_key, api.store, now=lambda: moment.timestamp())
    issued, expires = issuer.issue("default", "default", account["metadata"]["uid"], audiences=["a"], seconds=600)
    assert issuer.check(issued, ["a"]).name == "default"
    assert expires == int(moment.timestamp()) + 600
    moment += timedelta(seconds=601)
    with pytest.raises(DataError, match="expired"):
        issuer.check(issued, ["a"])
    moment -= timedelta(seconds=601)
    await api.delete("/api/v1/namespaces/default/serviceaccounts/default")
    with pytest.raises(DataError, match="no longer exists"):
        issuer.check(issued, ["a"])


async def test_impersonation_is_refused_not_ignored(api: RunningServer) -> None:
    headers = {"Authorization": f"Bearer {api.pki.tokens['admin']}", "Impersonate-User": "somebody"}
    async with api.session.get(api.url + PODS, headers=headers) as response:
        assert response.status == 403
