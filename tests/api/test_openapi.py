"""The OpenAPI documents: complete, of one piece, and with what kubectl looks for."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest

from lateen.api.kinds import Kind
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.openapi import OpenApi

THING = Kind(
    group="shop.example.com",
    version="v1",
    served_versions=("v1", "v1beta1"),
    kind="Thing",
    plural="things",
    singular="thing",
    subresources=frozenset({"status"}),
    builtin=False,
)
SCHEMA = {
    "type": "object",
    "description": "A thing.",
    "properties": {
        "spec": {"type": "object", "properties": {"size": {"oneOf": [{"type": "string"}], "nullable": True}}}
    },
}


def _open_api(schema: dict[str, Any] | None = None) -> OpenApi:
    return OpenApi((*BUILTIN, THING), lambda kind, version: schema or SCHEMA)


DOCUMENTS = _open_api()


def _load(path: str) -> dict[str, Any]:
    found = DOCUMENTS.find_v3(path)
    assert found is not None
    assert gzip.decompress(found.gzipped) == found.body
    document: dict[str, Any] = json.loads(found.body)
    return document


@pytest.mark.parametrize("path", DOCUMENTS.index()["paths"])
def test_every_reference_of_a_document_leads_somewhere_in_it(path: str) -> None:
    document = _load(path)
    schemas = document["components"]["schemas"]
    references = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))
    assert set(references) <= schemas.keys()
    assert set(re.findall(r'"\$ref": ?"([^#"]+)', json.dumps(document))) == set()


def test_a_kind_is_found_by_its_path_its_schema_and_its_patches() -> None:
    document = _load("apis/apps/v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    identity = {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert patch["x-kubernetes-group-version-kind"] == identity
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    deployment = document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert identity in deployment["x-kubernetes-group-version-kind"]
    assert deployment["description"]


def test_merge_keys_are_told_to_those_who_make_patches() -> None:
    spec = _load("api/v1")["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]
    assert spec["properties"]["containers"]["x-kubernetes-patch-merge-key"] == "name"


def test_a_custom_kind_takes_no_strategic_patches_and_has_its_own_schema() -> None:
    document = _load("apis/shop.example.com/v1beta1")
    path = "/apis/shop.example.com/v1beta1/namespaces/{namespace}/things/{name}"
    assert path + "/status" in document["paths"]
    assert "application/strategic-merge-patch+json" not in document["paths"][path]["patch"]["requestBody"]["content"]
    schema = document["components"]["schemas"]["com.example.shop.v1beta1.Thing"]
    assert schema["properties"]["spec"] == SCHEMA["properties"]["spec"]  # type: ignore[index]
    assert schema["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}


def test_numbers_or_text_are_said_as_such() -> None:
    schemas = _load("api/v1")["components"]["schemas"]
    port = schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert port["oneOf"] == [{"type": "integer"}, {"type": "string"}]
    assert "type" not in schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]


def test_a_hash_changes_with_a_schema_and_only_where_it_is_used() -> None:
    changed = _open_api({"type": "object"}).index()["paths"]
    same = DOCUMENTS.index()["paths"]
    different = {path for path in same if same[path] != changed[path]}
    assert different == {"apis/shop.example.com/v1", "apis/shop.example.com/v1beta1"}


def test_the_index_names_the_hash_that_the_document_carries() -> None:
    url = DOCUMENTS.index()["paths"]["apis/apps/v1"]["serverRelativeURL"]
    found = DOCUMENTS.find_v3("apis/apps/v1")
    assert found is not None
    assert url == f"/openapi/v3/apis/apps/v1?hash={found.etag}"


def test_a_group_that_is_not_served_has_no_document() -> None:
    assert DOCUMENTS.find_v3("apis/nobody/v1") is None


def test_the_swagger_document_holds_every_kind_and_nothing_that_swagger_cannot_say() -> None:
    document = json.loads(DOCUMENTS.v2().body)
    assert document["swagger"] == "2.0"
    references = set(re.findall(r'"#/definitions/([^"]+)"', json.dumps(document)))
    assert references <= document["definitions"].keys()
    assert '"oneOf"' not in json.dumps(document["definitions"]["com.example.shop.v1.Thing"])
    served = {
        (one["group"], one["kind"])
        for definition in document["definitions"].values()
        for one in definition.get("x-kubernetes-group-version-kind", ())
    }
    assert {(kind.group, kind.kind) for kind in (*BUILTIN, THING)} <= served
