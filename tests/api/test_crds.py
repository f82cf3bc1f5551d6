"""The CRDs are structural, shaped as Istio's, and judge objects as Istio's do (but for CEL rules)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.api.crds import build_crd
from lateen.api.kinds_istio import GATEWAY_API, ISTIO
from lateen.api.schema.model import Schema, decode_schema
from lateen.api.schema.structural import prune
from lateen.api.schema.structural_validation import validate_structural
from lateen.api.yaml_loader import load

SHARED = Path(os.environ.get("LATEEN_SHARED", Path(__file__).parents[2].parent / "shared"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")
CRDS = {kind.kind: build_crd(kind) for kind in ISTIO}
VALUE_VALIDATIONS = {"oneOf", "anyOf", "allOf", "not"}
NOT_IN_VALIDATIONS = {
    "type",
    "description",
    "default",
    "additionalProperties",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
}


def _schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


SCHEMAS: dict[str, Schema] = {kind: decode_schema(_schema_of(crd)) for kind, crd in CRDS.items()}


def _istios_own() -> dict[str, dict[str, Any]]:
    text = (SHARED / "conformance/validation/crd-all.gen.yaml").read_text()
    return {crd["spec"]["names"]["kind"]: crd for crd in yaml.load_all(text, Loader=yaml.CSafeLoader)}


def _structural_problems(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Ways in which a schema breaks Kubernetes' rules for structural schemas."""
    if not schema.get("type") and not schema.get("x-kubernetes-int-or-string"):
        yield f"{path}: no type"
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: properties and additionalProperties"
    for name in schema.get("required", []):
        if name not in schema.get("properties", {}):
            yield f"{path}: required {name} is no property"
    if schema.get("x-kubernetes-list-type") == "map":
        for key in schema["x-kubernetes-list-map-keys"]:
            if key not in schema["items"].get("required", []):
                yield f"{path}: list map key {key} is not required"
    if not schema.get("x-kubernetes-int-or-string"):
        yield from _condition_problems(schema, schema, path)
    for name, part in schema.get("properties", {}).items():
        yield from _structural_problems(part, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from _structural_problems(schema[word], f"{path}.{word}")


def _condition_problems(holder: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
    """The same for oneOf, anyOf, allOf and not, which may only name properties of the schema around them."""
    for word in VALUE_VALIDATIONS & holder.keys():
        for branch in holder[word] if isinstance(holder[word], list) else [holder[word]]:
            yield from (f"{path}: {member} within a condition" for member in NOT_IN_VALIDATIONS & branch.keys())
            for name in branch.get("required", []):
                if name not in schema.get("properties", {}):
                    yield f"{path}: condition on {name}, which is no property"
            yield from _condition_problems(branch, schema, path)


@pytest.mark.parametrize("kind", [*ISTIO, *GATEWAY_API], ids=lambda kind: kind.qualified_name)
def test_a_crd_is_well_formed_and_structural(kind: Any) -> None:
    crd = build_crd(kind)
    assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
    assert [version["storage"] for version in crd["spec"]["versions"]].count(True) == 1
    for version in crd["spec"]["versions"]:
        assert version["subresources"] == {"status": {}}
        assert list(_structural_problems(version["schema"]["openAPIV3Schema"], "")) == []


def test_every_field_of_a_specification_is_described() -> None:
    def undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
        for name, part in schema.get("properties", {}).items():
            if not part.get("description"):
                yield f"{path}.{name}"
            yield from undescribed(part, f"{path}.{name}")
        for word in ("items", "additionalProperties"):
            if word in schema:
                yield from undescribed(schema[word], f"{path}.{word}")

    assert [missing for kind, crd in CRDS.items() for missing in undescribed(_schema_of(crd), kind)] == []


@needs_shared
def test_names_versions_scope_and_columns_are_istios() -> None:
    for kind, theirs in _istios_own().items():
        ours = CRDS[kind]["spec"]
        assert ours["names"] == theirs["spec"]["names"]
        assert ours["scope"] == theirs["spec"]["scope"]
        columns = {
            version["name"]: [
                {word: column[word] for word in ("name", "type", "jsonPath")}
                for column in version.get("additionalPrinterColumns", [])
            ]
            for version in theirs["spec"]["versions"]
        }
        assert {v["name"]: v.get("additionalPrinterColumns", []) for v in ours["versions"]} == columns


@needs_shared
@pytest.mark.parametrize("folder", ["samples", "article"])
def test_every_istio_object_of_the_samples_keeps_to_its_schema(folder: str) -> None:
    objects = [
        document.object
        for file in sorted((SHARED / folder).rglob("*.yaml"))
        for document in load(file.read_text(), file.name).documents
        if document.object["kind"] in SCHEMAS and ".istio.io/" in document.object["apiVersion"]
    ]
    assert len(objects) >= 10
    for document in objects:
        schema = SCHEMAS[document["kind"]]
        assert validate_structural(document, schema) == []
        assert prune(document, schema) == (document, ())


@needs_shared
@pytest.mark.parametrize("corpus", ["cases.json", "crd_cases.json"])
def test_objects_are_judged_as_istios_own_schemas_judge_them(corpus: str) -> None:
    theirs = {kind: decode_schema(_schema_of(crd)) for kind, crd in _istios_own().items()}
    cases = json.loads((SHARED / "conformance/validation" / corpus).read_text())
    different = {}
    for case in cases:
        document = case.get("resource") or {"kind": case["kind"], "spec": case["spec"]}
        ours = validate_structural(document, SCHEMAS[document["kind"]])
        by_istio = validate_structural(document, theirs[document["kind"]])
        stricter_where_cel_is = bool(ours) and not case["valid"]
        if bool(ours) != bool(by_istio) and not stricter_where_cel_is:
            different[case["id"]] = (ours, by_istio)
    assert len(cases) > 50
    assert different == {}


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        ("VirtualService", {"http": [{"timeout": "5"}]}, "spec.http[0].timeout"),
        ("VirtualService", {"http": [{"timeout": 5}]}, "spec.http[0].timeout"),
        ("VirtualService", {"http": [{"route": [{}]}]}, "spec.http[0].route[0].destination"),
        ("VirtualService", {"hosts": "reviews"}, "spec.hosts"),
        ("DestinationRule", {}, "spec.host"),
        ("DestinationRule", {"host": "a", "trafficPolicy": {"tls": {"mode": "mutual"}}}, "spec.trafficPolicy.tls.mode"),
        ("Gateway", {"servers": [{"hosts": ["a"], "port": {"number": -1}}]}, "spec.servers[0].port.number"),
        ("PeerAuthentication", {"mtls": {"mode": "ON"}}, "spec.mtls.mode"),
        ("ServiceEntry", {"hosts": []}, "spec.hosts"),
    ],
)
def test_a_mistake_is_refused_with_its_path(kind: str, spec: Any, path: str) -> None:
    assert path in {error.path for error in validate_structural({"spec": spec}, SCHEMAS[kind])}


def test_one_of_groups_admit_one_member() -> None:
    match = {"uri": {"exact": "/a", "prefix": "/b"}}
    document = {"spec": {"http": [{"match": [match]}]}}
    (error,) = validate_structural(document, SCHEMAS["VirtualService"])
    assert "oneOf" in error.message
    del match["uri"]["exact"]
    assert validate_structural(document, SCHEMAS["VirtualService"]) == []


def test_status_and_patches_keep_unknown_fields() -> None:
    document = {
        "spec": {"configPatches": [{"patch": {"value": {"any": {"thing": 1}}}, "unknown": 1}]},
        "status": {"others": 1},
    }
    pruned, unknown = prune(document, SCHEMAS["EnvoyFilter"])
    assert unknown == ("spec.configPatches[0].unknown",)
    assert pruned["status"] == {"others": 1}
    assert pruned["spec"]["configPatches"][0]["patch"] == {"value": {"any": {"thing": 1}}}
