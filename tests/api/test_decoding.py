"""Documents of built-in kinds: unknown fields, wrong types, nulls; and the schemas of custom kinds."""

from __future__ import annotations

from typing import Any

import pytest

from lateen.api.kinds import Kind
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.schema.defaults import apply_defaults
from lateen.api.schema.definitions import find_schema
from lateen.api.schema.errors import format_errors
from lateen.api.schema.model import decode_schema
from lateen.api.schema.validation import DocumentError, decode_document, validate

KINDS = {kind.kind: kind for kind in BUILTIN if kind.group != "events.k8s.io"}


def _decode(kind: str, document: dict[str, Any], mode: str = "Warn") -> Any:
    found = KINDS[kind]
    schema = find_schema(found.group, found.version, kind)
    return decode_document(found, found.version, document, schema, field_validation=mode)


DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {"replicas": 1, "foo": 1, "template": {"spec": {"containers": [{"name": "a", "bar": 2}]}}},
}


def test_unknown_fields_are_dropped_with_a_warning_each() -> None:
    accepted = _decode("Deployment", DEPLOYMENT)
    assert accepted.warnings == (
        'unknown field "spec.foo"',
        'unknown field "spec.template.spec.containers[0].bar"',
    )
    assert "foo" not in accepted.document["spec"]
    assert accepted.document["spec"]["template"]["spec"]["containers"] == [{"name": "a"}]


def test_unknown_fields_refuse_a_strict_document() -> None:
    with pytest.raises(DocumentError) as refused:
        _decode("Deployment", DEPLOYMENT, "Strict")
    assert refused.value.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.foo", unknown field "spec.template.spec.containers[0].bar"'
    )


def test_unknown_fields_may_be_ignored() -> None:
    assert _decode("Deployment", DEPLOYMENT, "Ignore").warnings == ()


MISMATCHES: dict[str, tuple[str, dict[str, Any], str]] = {
    "text_for_a_number": (
        "Deployment",
        {"spec": {"replicas": "three"}},
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    ),
    "a_number_for_a_name": (
        "Pod",
        {"metadata": {"name": 1}},
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
    ),
    "a_boolean_label": (
        "Pod",
        {"metadata": {"labels": {"a": True}}},
        "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
    ),
    "an_object_for_a_list": (
        "Pod",
        {"spec": {"containers": {}}},
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
    ),
    "a_list_for_an_object": (
        "Pod",
        {"spec": []},
        "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
    ),
    "a_fraction_for_a_whole_number": (
        "Service",
        {"spec": {"ports": [{"port": 80.5}]}},
        "json: cannot unmarshal number 80.5 into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    "a_number_too_large": (
        "Service",
        {"spec": {"ports": [{"port": 3_000_000_000}]}},
        "json: cannot unmarshal number 3000000000 into Go struct field ServicePort.spec.ports.port of type int32",
    ),
    "a_bad_quantity": (
        "Pod",
        {"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}},
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    "bad_base64": ("Secret", {"data": {"a": "!!"}}, "illegal base64 data at input byte 0"),
    "a_boolean_port": (
        "Service",
        {"spec": {"ports": [{"targetPort": True}]}},
        "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
    ),
}


@pytest.mark.parametrize(("kind", "document", "expected"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_wrong_type_is_refused_in_the_words_of_go(kind: str, document: dict[str, Any], expected: str) -> None:
    with pytest.raises(DocumentError) as refused:
        _decode(kind, document)
    assert refused.value.message == f'{kind} in version "v1" cannot be handled as a {kind}: {expected}'


def test_nulls_vanish_and_become_zero_in_maps() -> None:
    document = {"metadata": {"labels": None, "annotations": {"a": None}, "name": "x"}}
    assert _decode("ConfigMap", document).document == {"metadata": {"annotations": {"a": ""}, "name": "x"}}


def test_quantities_take_numbers_and_text_and_come_back_as_kubernetes_writes_them() -> None:
    limits = {"cpu": 1, "memory": "1024Mi", "other": "3000m", "more": "0.5"}
    document = {"spec": {"containers": [{"resources": {"limits": limits}}]}}
    (container,) = _decode("Pod", document).document["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "1Gi", "other": "3", "more": "500m"}


def test_a_mistake_that_ends_decoding_goes_over_an_earlier_one_that_does_not() -> None:
    document = {"metadata": {"name": 1, "creationTimestamp": "yesterday"}}
    with pytest.raises(DocumentError, match="parsing time"):
        _decode("Pod", document)


SCHEMA = decode_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["hosts"],
                "properties": {
                    "hosts": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "mode": {"type": "string", "enum": ["A", "B"], "default": "A"},
                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                    "either": {"x-kubernetes-int-or-string": True},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "choice": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
                    "items": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                    },
                    "nullable": {"type": "string", "nullable": True},
                    "nested": {
                        "type": "object",
                        "default": {},
                        "properties": {"on": {"type": "boolean", "default": True}},
                    },
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
)
THING = Kind(
    group="x.io",
    version="v1",
    served_versions=("v1",),
    kind="Thing",
    plural="things",
    singular="thing",
    builtin=False,
)


def _thing(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "x.io/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "namespace": "n"},
        "spec": {"hosts": ["a"], **spec},
    }


def test_pruning_keeps_what_the_schema_preserves() -> None:
    document = _thing(zebra=1, free={"any": 1}, labels={"a": "b"}) | {"status": {"x": 1}, "other": 1}
    accepted = decode_document(THING, "v1", document, SCHEMA)
    assert accepted.warnings == ('unknown field "other"', 'unknown field "spec.zebra"')
    assert accepted.document["spec"] == {"hosts": ["a"], "free": {"any": 1}, "labels": {"a": "b"}}
    assert accepted.document["status"] == {"x": 1}


def test_metadata_of_a_custom_resource_is_that_of_kubernetes() -> None:
    document = _thing() | {"metadata": {"name": "t", "color": "red"}}
    assert decode_document(THING, "v1", document, SCHEMA).warnings == ('unknown field "metadata.color"',)
    with pytest.raises(DocumentError, match=r"ObjectMeta\.metadata\.labels of type string"):
        decode_document(THING, "v1", {"metadata": {"labels": {"a": 1}}}, SCHEMA)


def test_defaults_fill_missing_fields_and_forbidden_nulls() -> None:
    result = apply_defaults(THING, _thing(mode=None, nullable=None), SCHEMA)
    assert result["spec"] == {"hosts": ["a"], "mode": "A", "nullable": None, "nested": {"on": True}}


CAUSES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing_wrong": (_thing(port=80, either="x", nullable=None), []),
    "a_missing_field": (
        {"metadata": {"name": "t", "namespace": "n"}, "spec": {}},
        ["spec.hosts: Required value"],
    ),
    "a_wrong_type": (
        _thing(port="80"),
        ['spec.port: Invalid value: "string": spec.port in body must be of type integer: "string"'],
    ),
    "a_null": (
        _thing(port=None),
        ['spec.port: Invalid value: "null": spec.port in body must be of type integer: "null"'],
    ),
    "a_wrong_type_in_a_list": (
        _thing(hosts=[1]),
        ['spec.hosts[0]: Invalid value: "integer": spec.hosts[0] in body must be of type string: "integer"'],
    ),
    "out_of_range": (
        _thing(port=0),
        ["spec.port: Invalid value: 0: spec.port in body should be greater than or equal to 1"],
    ),
    "not_in_the_enumeration": (
        _thing(mode="C"),
        ['spec.mode: Unsupported value: "C": supported values: "A", "B"'],
    ),
    "a_pattern": (
        _thing(name="A"),
        ["spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+$'"],
    ),
    "too_long": (_thing(name="abcdef"), ["spec.name: Too long: may not be more than 5 bytes"]),
    "too_few": (
        _thing(hosts=[]),
        ["spec.hosts: Invalid value: 0: spec.hosts in body should have at least 1 items"],
    ),
    "too_many": (_thing(hosts=["a", "b", "c"]), ["spec.hosts: Too many: 3: must have at most 2 items"]),
    "neither_of_two": (
        _thing(either=1.5),
        ['spec.either: Invalid value: "number": spec.either in body must be of type integer,string: "number"'],
    ),
    "two_of_one": (
        _thing(choice={"a": 1, "b": 2}),
        [
            '<nil>: Invalid value: "": "spec.choice" must validate one and only one schema (oneOf). '
            "Found 2 valid alternatives"
        ],
    ),
    "the_same_key_twice": (
        _thing(items=[{"name": "a"}, {"name": "a"}]),
        ['spec.items[1]: Duplicate value: {"name":"a"}'],
    ),
}


@pytest.mark.parametrize(("document", "expected"), CAUSES.values(), ids=CAUSES)
def test_a_custom_resource_is_judged_by_its_schema(document: dict[str, Any], expected: list[str]) -> None:
    assert [str(error) for error in validate(THING, document, SCHEMA)] == expected


def test_several_errors_stand_in_brackets_without_repetition() -> None:
    errors = validate(THING, _thing(port=0, mode="C"), SCHEMA)
    assert [error.path for error in errors] == ["spec.port", "spec.mode"]
    assert format_errors([*errors, errors[0]]) == (
        "[spec.port: Invalid value: 0: spec.port in body should be greater than or equal to 1, "
        'spec.mode: Unsupported value: "C": supported values: "A", "B"]'
    )
    assert format_errors(errors[:1]) == str(errors[0])
