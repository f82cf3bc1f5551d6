from pathlib import Path
from typing import Any

import pytest

from lateen.testing.apiserver import MERGE_PATCH, STRATEGIC_PATCH, RunningServer, run_apiserver
from lateen.testing.poll import until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SHIPS = "/apis/example.com/v1/namespaces/default/ships"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def version(name: str, **overrides: Any) -> dict[str, Any]:
    spec = {
        "type": "object",
        "required": ["sail"],
        "properties": {
            "sail": {"type": "string", "enum": ["lateen", "square"]},
            "masts": {"type": "integer", "minimum": 1, "default": 1},
        },
    }
    schema = {
        "type": "object",
        "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    column = {"name": "Sail", "type": "string", "jsonPath": ".spec.sail"}
    return {
        "name": name,
        "served": True,
        "storage": name == "v1",
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column],
    } | overrides


def definition(plural: str = "ships", kind: str = "Ship", **spec: Any) -> dict[str, Any]:
    names = {"plural": plural, "kind": kind, "shortNames": [plural[:2]], "categories": ["all"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version("v1"), version("v1beta1")],
            **spec,
        },
    }


def ship(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Ship",
        "metadata": {"name": name},
        "spec": {"sail": "lateen", **spec},
    }


async def test_a_definition_is_established_and_served_at_once(api: RunningServer) -> None:
    created = await api.create(CRDS, definition())
    assert {condition["type"]: condition["status"] for condition in created["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert created["status"]["storedVersions"] == ["v1"]
    assert created["status"]["acceptedNames"]["listKind"] == "ShipList"
    stored = await api.create(SHIPS, ship())
    assert (stored["spec"], stored["metadata"]["generation"]) == ({"sail": "lateen", "masts": 1}, 1)
    listed = await api.get("/apis/example.com/v1/ships")
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("ShipList", ["a"])
    groups = await api.get("/apis")
    assert "example.com" in [group["name"] for group in groups["groups"]]


async def test_every_served_version_shows_the_same_object(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    created = await api.create(SHIPS.replace("v1/", "v1beta1/"), ship() | {"apiVersion": "example.com/v1beta1"})
    assert created["apiVersion"] == "example.com/v1beta1"
    assert await api.get(f"{SHIPS}/a") == created | {"apiVersion": "example.com/v1"}
    wrong = await api.request("POST", SHIPS, ship("b") | {"apiVersion": "example.com/v1beta1"})
    assert wrong.status == 400


async def test_objects_are_checked_pruned_and_defaulted_by_the_schema(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    answer = await api.request("POST", SHIPS, ship(sail="none", masts=0))
    assert answer.status == 422
    assert {cause["field"] for cause in answer.document["details"]["causes"]} == {"spec.sail", "spec.masts"}
    assert answer.message.startswith('Ship.example.com "a" is invalid: ')
    warned = await api.request("POST", SHIPS, ship(oars=3))
    assert (warned.document["spec"], len(warned.warnings)) == ({"sail": "lateen", "masts": 1}, 1)
    strict = await api.request("POST", SHIPS, ship("b", oars=3), fieldValidation="Strict")
    assert (strict.status, 'unknown field "spec.oars"' in strict.message) == (400, True)


async def test_custom_objects_take_json_and_merge_patches_but_not_strategic_ones(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    await api.create(SHIPS, ship())
    merged = await api.request("PATCH", f"{SHIPS}/a", {"spec": {"masts": 3}}, media_type=MERGE_PATCH)
    assert (merged.document["spec"]["masts"], merged.document["metadata"]["generation"]) == (3, 2)
    assert (await api.request("PATCH", f"{SHIPS}/a", {}, media_type=STRATEGIC_PATCH)).status == 415


async def test_the_status_is_a_part_of_its_own(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    created = await api.create(SHIPS, ship() | {"status": {"afloat": True}})
    assert "status" not in created
    answer = await api.request(
        "PUT", f"{SHIPS}/a/status", created | {"status": {"afloat": True}, "spec": {"sail": "square"}}
    )
    assert (answer.document["status"], answer.document["spec"]["sail"]) == ({"afloat": True}, "lateen")
    assert answer.document["metadata"]["generation"] == 1


async def test_tables_have_the_columns_of_the_definition(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    await api.create(SHIPS, ship())
    table = (await api.request("GET", SHIPS, accept=TABLE)).document
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Sail"]
    assert table["rows"][0]["cells"] == ["a", "lateen"]


async def test_deleting_a_definition_deletes_its_objects_even_held_ones(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    await api.create(SHIPS, ship("a"))
    held = ship("b")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await api.create(SHIPS, held)
    await api.delete(f"{CRDS}/ships.example.com")
    names = lambda: [revision.key.name for revision in api.store.list_objects("ships.example.com")]  # noqa: E731
    await until(lambda: names() == ["b"], what="only the held object is left")
    assert (await api.get(f"{CRDS}/ships.example.com"))["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": []}}
    assert (await api.request("PATCH", f"{SHIPS}/b", patch, media_type=MERGE_PATCH)).status == 200

    async def gone() -> bool:
        return (await api.request("GET", f"{CRDS}/ships.example.com")).status == 404

    await until(gone, what="the definition is gone")
    assert (await api.request("GET", SHIPS)).status == 404


async def test_definitions_and_interrupted_deletions_go_on_after_a_restart(tmp_path: Path) -> None:
    async with run_apiserver(tmp_path) as api:
        await api.create(CRDS, definition())
        await api.create(CRDS, definition("boats", "Boat"))
        held = ship()
        held["metadata"]["finalizers"] = ["example.com/hold"]
        await api.create(SHIPS, held)
        await api.delete(f"{CRDS}/ships.example.com")
    async with run_apiserver(tmp_path) as api:
        await api.get("/apis/example.com/v1/boats")
        await api.request("PATCH", f"{SHIPS}/a", {"metadata": {"finalizers": []}}, media_type=MERGE_PATCH)
        await until(lambda: len(api.store.list_objects("customresourcedefinitions.apiextensions.k8s.io")) == 1)


async def test_a_changed_definition_is_served_in_its_new_form(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    patch = {"spec": {"versions": [version("v1")]}}
    answer = await api.request("PATCH", f"{CRDS}/ships.example.com", patch, media_type=MERGE_PATCH)
    assert answer.status == 200, answer.body
    assert (await api.request("GET", "/apis/example.com/v1beta1/ships")).status == 404
    assert (await api.request("GET", "/apis/example.com/v1/ships")).status == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": {"name": "wrong.example.com"}}, "metadata.name"),
        ({"spec": definition()["spec"] | {"versions": []}}, "spec.versions"),
        ({"spec": definition()["spec"] | {"conversion": {"strategy": "Webhook"}}}, "spec.conversion.strategy"),
    ],
)
async def test_an_unusable_definition_is_refused(api: RunningServer, change: dict[str, Any], field: str) -> None:
    answer = await api.request("POST", CRDS, definition() | change)
    assert answer.status == 422, answer.body
    assert field in {cause["field"] for cause in answer.document["details"]["causes"]}


async def test_names_that_are_taken_are_not_accepted(api: RunningServer) -> None:
    await api.create(CRDS, definition())
    other = definition("vessels", "Ship")
    created = await api.create(CRDS, other)
    assert {condition["type"]: condition["status"] for condition in created["status"]["conditions"]} == {
        "NamesAccepted": "False",
        "Established": "False",
    }
    assert (await api.request("GET", "/apis/example.com/v1/vessels")).status == 404


async def test_rules_that_are_not_evaluated_are_warned_of(api: RunningServer) -> None:
    crd = definition()
    rule = {"rule": "self.masts < 10", "message": "too many masts"}
    for one in crd["spec"]["versions"]:
        one["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = [rule]
    answer = await api.request("POST", CRDS, crd)
    assert answer.status == 201, answer.body
    assert "x-kubernetes-validations" in "".join(answer.warnings)
    assert not (await api.request("POST", CRDS, definition("boats", "Boat"))).warnings
