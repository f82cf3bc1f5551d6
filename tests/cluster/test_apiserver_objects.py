from pathlib import Path
from typing import Any

import pytest

from lateen.testing.apiserver import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, RunningServer, run_apiserver

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "lateen/sample-httpbin"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


async def test_a_created_object_comes_back_with_everything_and_its_system_fields(api: RunningServer) -> None:
    created = await api.create(MAPS, config_map(x="1"))
    assert created == await api.get(f"{MAPS}/a")
    metadata = created["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["uid"]
    assert metadata["creationTimestamp"]
    assert int(metadata["resourceVersion"]) > 0
    assert created["data"] == {"x": "1"}


async def test_what_a_client_says_about_system_fields_is_not_believed(api: RunningServer) -> None:
    body = config_map()
    body["metadata"] |= {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 7}
    body["metadata"] |= {"deletionTimestamp": "2000-01-01T00:00:00Z", "managedFields": []}
    metadata = (await api.create(MAPS, body))["metadata"]
    assert metadata["uid"] != "mine"
    assert metadata["creationTimestamp"] > "2020"
    assert not {"deletionTimestamp", "generation", "managedFields"} & metadata.keys()


async def test_generated_names_begin_with_their_base(api: RunningServer) -> None:
    body = config_map()
    body["metadata"] = {"generateName": "web-"}
    names = {(await api.create(MAPS, body))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason", "message"),
    [
        ("GET", f"{MAPS}/nope", None, 404, "NotFound", 'configmaps "nope" not found'),
        ("GET", f"{DEPLOYMENTS}/nope", None, 404, "NotFound", 'deployments.apps "nope" not found'),
        ("GET", "/api/v1/nothings", None, 404, "NotFound", "the server could not find the requested resource"),
        ("GET", "/apis/apps/v9/deployments", None, 404, "NotFound", "the server could not find"),
        ("POST", MAPS, b"{", 400, "BadRequest", "json parse error"),
        ("POST", MAPS, b"[]", 400, "BadRequest", "no JSON object"),
        ("POST", MAPS, b"[" * 100_000, 400, "BadRequest", "max depth"),
        ("POST", MAPS, b'{"data":' + b'{"a":' * 300 + b"1" + b"}" * 301, 400, "BadRequest", "max depth"),
        ("POST", MAPS, config_map("a") | {"kind": "Secret"}, 400, "BadRequest", "cannot be handled as a ConfigMap"),
        ("POST", MAPS, config_map("a") | {"apiVersion": "v2"}, 400, "BadRequest", "does not match the expected"),
        ("POST", MAPS, config_map("A_b"), 422, "Invalid", 'ConfigMap "A_b" is invalid: metadata.name'),
        ("POST", MAPS, config_map("taken"), 409, "AlreadyExists", 'configmaps "taken" already exists'),
        ("POST", MAPS, config_map("a") | {"data": {"x": 1}}, 400, "BadRequest", "cannot unmarshal number"),
        ("PUT", f"{MAPS}/taken", config_map("other"), 400, "BadRequest", "does not match the name on the URL"),
        ("PUT", f"{MAPS}/nope", config_map("nope"), 404, "NotFound", 'configmaps "nope" not found'),
        ("POST", f"{MAPS}/taken", config_map("taken"), 405, "MethodNotAllowed", "create is not supported"),
        ("POST", DEPLOYMENTS, deployment(replicas="two"), 400, "BadRequest", "cannot unmarshal string"),
        ("POST", "/api/v1/namespaces/none/configmaps", config_map(), 404, "NotFound", 'namespaces "none" not found'),
    ],
)
async def test_a_mistake_is_answered_by_the_status_that_kubernetes_gives(
    api: RunningServer, method: str, path: str, body: Any, status: int, reason: str, message: str
) -> None:
    await api.create(MAPS, config_map("taken"))
    answer = await api.request(method, path, body)
    found = answer.document
    assert (answer.status, found["code"], found["reason"]) == (status, status, reason), found
    assert message in found["message"]
    assert (found["kind"], found["apiVersion"], found["status"]) == ("Status", "v1", "Failure")


async def test_an_invalid_object_is_refused_with_every_field_named(api: RunningServer) -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"] = [{"image": "x"}, {"name": "two", "ports": [{"containerPort": 0}]}]
    answer = await api.request("POST", DEPLOYMENTS, body)
    assert answer.status == 422
    details = answer.document["details"]
    assert (details["name"], details["group"], details["kind"]) == ("web", "apps", "Deployment")
    fields = {cause["field"] for cause in details["causes"]}
    assert {"spec.template.spec.containers[0].name", "spec.template.spec.containers[1].image"} <= fields


async def test_an_update_needs_the_version_it_was_made_from(api: RunningServer) -> None:
    created = await api.create(MAPS, config_map(x="1"))
    answer = await api.request("PUT", f"{MAPS}/a", created | {"data": {"x": "2"}})
    assert answer.status == 200
    stale = await api.request("PUT", f"{MAPS}/a", created | {"data": {"x": "3"}})
    assert (stale.status, stale.document["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale.message
    unconditional = await api.request("PUT", f"{MAPS}/a", config_map(x="4"))
    assert (unconditional.status, unconditional.document["data"]) == (200, {"x": "4"})


async def test_an_update_that_changes_nothing_writes_nothing(api: RunningServer) -> None:
    created = await api.create(DEPLOYMENTS, deployment())
    answer = await api.request("PUT", f"{DEPLOYMENTS}/web", deployment())
    assert answer.document["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_generation_counts_changes_of_the_specification_only(api: RunningServer) -> None:
    created = await api.create(DEPLOYMENTS, deployment())
    assert created["metadata"]["generation"] == 1
    labelled = await api.request(
        "PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}}, media_type=MERGE_PATCH
    )
    assert labelled.document["metadata"]["generation"] == 1
    scaled = await api.request("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 3}}, media_type=MERGE_PATCH)
    assert scaled.document["metadata"]["generation"] == 2


async def test_status_and_specification_are_written_apart(api: RunningServer) -> None:
    created = await api.create(DEPLOYMENTS, deployment() | {"status": {"replicas": 9}})
    assert created.get("status", {}) == {}
    created["status"] = {"replicas": 2}
    created["spec"]["replicas"] = 5
    answer = await api.request("PUT", f"{DEPLOYMENTS}/web/status", created)
    assert (answer.document["status"], answer.document["spec"]["replicas"]) == ({"replicas": 2}, 1)
    answer.document["status"] = {}
    again = await api.request("PUT", f"{DEPLOYMENTS}/web", answer.document | {"status": {}})
    assert again.document["status"] == {"replicas": 2}
    assert (await api.get(f"{DEPLOYMENTS}/web/status"))["status"] == {"replicas": 2}


@pytest.mark.parametrize(
    ("media_type", "patch"),
    [
        (JSON_PATCH, [{"op": "add", "path": "/spec/template/spec/containers/0/image", "value": "new"}]),
        (STRATEGIC_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "new"}]}}}}),
        (MERGE_PATCH, {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "new"}]}}}}),
    ],
    ids=["json", "strategic", "merge"],
)
async def test_every_kind_of_patch_changes_the_object(api: RunningServer, media_type: str, patch: Any) -> None:
    await api.create(DEPLOYMENTS, deployment())
    answer = await api.request("PATCH", f"{DEPLOYMENTS}/web", patch, media_type=media_type)
    assert answer.status == 200, answer.body
    (container,) = (await api.get(f"{DEPLOYMENTS}/web"))["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "new"
    assert container["terminationMessagePolicy"] == "File"


async def test_a_patch_may_state_the_version_it_was_made_from(api: RunningServer) -> None:
    created = await api.create(MAPS, config_map())
    patch = {"metadata": {"resourceVersion": "1"}, "data": {"x": "1"}}
    assert (await api.request("PATCH", f"{MAPS}/a", patch, media_type=MERGE_PATCH)).status == 409
    patch["metadata"] = {"resourceVersion": created["metadata"]["resourceVersion"]}
    assert (await api.request("PATCH", f"{MAPS}/a", patch, media_type=MERGE_PATCH)).status == 200


@pytest.mark.parametrize(
    ("media_type", "patch", "status"),
    [
        ("application/apply-patch+yaml", {}, 415),
        ("text/plain", {}, 415),
        (JSON_PATCH, [{"op": "test", "path": "/data/x", "value": "0"}], 422),
        (JSON_PATCH, {"op": "remove"}, 400),
        (MERGE_PATCH, [], 400),
        (MERGE_PATCH, {"metadata": {"name": "b"}}, 400),
    ],
)
async def test_a_patch_that_does_not_fit_is_refused(
    api: RunningServer, media_type: str, patch: Any, status: int
) -> None:
    await api.create(MAPS, config_map(x="1"))
    answer = await api.request("PATCH", f"{MAPS}/a", patch, media_type=media_type)
    assert answer.status == status, answer.body
    assert answer.document["kind"] == "Status"


async def test_a_failed_test_of_a_json_patch_says_which(api: RunningServer) -> None:
    await api.create(MAPS, config_map(x="1"))
    patch = [{"op": "test", "path": "/data/x", "value": "0"}]
    answer = await api.request("PATCH", f"{MAPS}/a", patch, media_type=JSON_PATCH)
    assert "/data/x" in answer.document["details"]["causes"][0]["message"]


async def test_a_subresource_that_is_not_there_has_details_for_kubectl_debug(api: RunningServer) -> None:
    answer = await api.request("GET", f"{MAPS}/a/none")
    assert (answer.status, answer.document["details"]) == (404, {})


async def test_a_dry_run_answers_as_if_and_stores_nothing(api: RunningServer) -> None:
    answer = await api.request("POST", MAPS, config_map(), dryRun="All")
    assert (answer.status, bool(answer.document["metadata"]["uid"])) == (201, True)
    assert (await api.request("GET", f"{MAPS}/a")).status == 404
    created = await api.create(MAPS, config_map())
    assert (await api.request("PUT", f"{MAPS}/a", config_map(x="1"), dryRun="All")).document["data"] == {"x": "1"}
    assert (await api.request("DELETE", f"{MAPS}/a", dryRun="All")).status == 200
    assert await api.get(f"{MAPS}/a") == created


async def test_unknown_fields_are_refused_warned_of_or_dropped_as_the_client_wishes(api: RunningServer) -> None:
    body = deployment()
    body["spec"]["replicaz"] = 2
    strict = await api.request("POST", DEPLOYMENTS, body, fieldValidation="Strict")
    assert strict.status == 400
    assert 'strict decoding error: unknown field "spec.replicaz"' in strict.message
    warned = await api.request("POST", DEPLOYMENTS, body, fieldValidation="Warn")
    assert (warned.status, warned.warnings) == (201, ['299 - "unknown field \\"spec.replicaz\\""'])
    assert "replicaz" not in warned.document["spec"]
    silent = await api.request("PUT", f"{DEPLOYMENTS}/web", body, fieldValidation="Ignore")
    assert (silent.status, silent.warnings) == (200, [])
    patched = await api.request(
        "PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicaz": 3}}, media_type=MERGE_PATCH, fieldValidation="Strict"
    )
    assert (patched.status, "unknown field" in patched.message) == (422, True)


async def test_a_field_that_stands_twice_is_refused_or_warned_of(api: RunningServer) -> None:
    body = b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"}}'
    strict = await api.request("POST", MAPS, body, fieldValidation="Strict")
    assert (strict.status, 'strict decoding error: duplicate field "data.x"' in strict.message) == (400, True)
    warned = await api.request("POST", MAPS, body)
    assert (warned.document["data"], warned.warnings) == ({"x": "2"}, ['299 - "duplicate field \\"data.x\\""'])


async def test_bodies_may_be_yaml_and_answers_too(api: RunningServer) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: 'yes'\n"
    answer = await api.request("POST", MAPS, body, media_type="application/yaml", accept="application/yaml")
    assert (answer.status, answer.headers["Content-Type"]) == (201, "application/yaml")
    assert b"x: 'yes'" in answer.body
    broken = await api.request("POST", MAPS, b"a: [", media_type="application/yaml")
    assert broken.status == 400


async def test_bodies_and_answers_in_other_formats_are_refused(api: RunningServer) -> None:
    assert (await api.request("POST", MAPS, b"x", media_type="text/xml")).status == 415
    assert (await api.request("GET", MAPS, accept="text/html")).status == 406
    fallback = await api.request("GET", MAPS, accept="application/vnd.kubernetes.protobuf,application/json")
    assert (fallback.status, fallback.headers["Content-Type"]) == (200, "application/json")


async def test_a_body_beyond_the_limit_is_refused(api: RunningServer) -> None:
    answer = await api.request("POST", MAPS, b'{"data":"' + b"x" * (4 << 20) + b'"}')
    assert (answer.status, answer.document["reason"]) == (413, "RequestEntityTooLarge")


async def test_objects_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    async with run_apiserver(tmp_path) as api:
        created = await api.create(MAPS, config_map(x="1"))
    async with run_apiserver(tmp_path) as api:
        assert await api.get(f"{MAPS}/a") == created
        later = await api.create(MAPS, config_map("b"))
        assert int(later["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_a_job_selects_its_own_pods(api: RunningServer) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}
    path = "/apis/batch/v1/namespaces/default/jobs"
    created = await api.create(path, {"metadata": {"name": "a"}, "spec": {"template": template}})
    uid = created["metadata"]["uid"]
    assert created["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = created["spec"]["template"]["metadata"]["labels"]
    assert (labels["batch.kubernetes.io/job-name"], labels["controller-uid"]) == ("a", uid)
    patched = await api.request("PATCH", f"{path}/a", {"spec": {"parallelism": 2}}, media_type=MERGE_PATCH)
    assert (patched.status, patched.document["spec"]["selector"]) == (200, created["spec"]["selector"])
