"""Strategic merge patch: directives, order, and a simple model of lists merged by key."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lateen.api.patch import PatchError, strategic_merge
from lateen.api.schema.definitions import find_schema
from lateen.api.schema.model import Schema


def _schema(group: str, kind: str) -> Schema:
    found = find_schema(group, "v1", kind)
    assert found is not None
    return found


POD, DEPLOYMENT, SERVICE = _schema("", "Pod"), _schema("apps", "Deployment"), _schema("", "Service")


def _pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


CASES = {
    "containers_merge_by_name": (
        _pod({"name": "a", "image": "1"}, {"name": "b", "image": "1"}),
        _pod({"name": "b", "image": "2"}),
        _pod({"name": "a", "image": "1"}, {"name": "b", "image": "2"}),
    ),
    "a_new_container_stands_before_those_the_patch_does_not_name": (
        _pod({"name": "a"}),
        _pod({"name": "b"}),
        _pod({"name": "b"}, {"name": "a"}),
    ),
    "an_element_is_deleted": (
        _pod({"name": "a"}, {"name": "b"}),
        _pod({"name": "a", "$patch": "delete"}),
        _pod({"name": "b"}),
    ),
    "a_list_is_replaced": (
        _pod({"name": "a"}, {"name": "b"}),
        _pod({"name": "c"}, {"$patch": "replace"}),
        _pod({"name": "c"}),
    ),
    "a_map_is_replaced": (
        {"metadata": {"labels": {"a": "1", "b": "2"}}},
        {"metadata": {"labels": {"c": "3", "$patch": "replace"}}},
        {"metadata": {"labels": {"c": "3"}}},
    ),
    "a_map_is_emptied": (
        {"metadata": {"labels": {"a": "1"}}},
        {"metadata": {"labels": {"$patch": "delete"}}},
        {"metadata": {"labels": {}}},
    ),
    "null_deletes_a_member_of_an_element": (
        _pod({"name": "a", "image": "1", "tty": True}),
        _pod({"name": "a", "tty": None}),
        _pod({"name": "a", "image": "1"}),
    ),
    "nulls_in_new_parts_vanish": (
        {"metadata": {}},
        {"metadata": {"labels": {"a": None, "b": "1"}}},
        {"metadata": {"labels": {"b": "1"}}},
    ),
    "lists_without_merge_strategy_are_replaced": (
        _pod({"name": "a", "args": ["1", "2"]}),
        _pod({"name": "a", "args": ["3"]}),
        _pod({"name": "a", "args": ["3"]}),
    ),
    "primitive_lists_unite": (
        {"metadata": {"finalizers": ["a.io/1", "a.io/2"]}},
        {"metadata": {"finalizers": ["a.io/2", "a.io/3"]}},
        {"metadata": {"finalizers": ["a.io/1", "a.io/2", "a.io/3"]}},
    ),
    "elements_leave_a_primitive_list": (
        {"metadata": {"finalizers": ["a.io/1", "a.io/2"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.io/1"]}},
        {"metadata": {"finalizers": ["a.io/2"]}},
    ),
    "the_order_list_decides": (
        _pod({"name": "a"}, {"name": "b"}, {"name": "c"}),
        {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]}},
        _pod({"name": "c"}, {"name": "a"}, {"name": "b"}),
    ),
    "an_element_only_the_server_has_keeps_its_place": (
        _pod({"name": "a"}, {"name": "server"}, {"name": "b"}),
        {
            "spec": {
                "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}, {"name": "new"}],
                "containers": [{"name": "new"}],
            }
        },
        _pod({"name": "a"}, {"name": "server"}, {"name": "b"}, {"name": "new"}),
    ),
    "only_named_keys_are_retained": (
        {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
        {"spec": {"strategy": {"type": "Recreate"}}},
    ),
    "a_volume_changes_its_source": (
        _pod(volumes=[{"name": "v", "emptyDir": {}}]),
        _pod(volumes=[{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]),
        _pod(volumes=[{"name": "v", "configMap": {"name": "c"}}]),
    ),
    "environment_merges_inside_containers": (
        _pod({"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}),
        _pod({"name": "a", "env": [{"name": "Y", "value": "3"}]}),
        _pod({"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]}),
    ),
}


@pytest.mark.parametrize(("document", "patch", "expected"), CASES.values(), ids=CASES)
def test_a_patch_merges_as_kubernetes_merges(document: Any, patch: Any, expected: Any) -> None:
    schema = DEPLOYMENT if "strategy" in document.get("spec", {}) else POD
    before = copy.deepcopy((document, patch))
    assert strategic_merge(document, patch, schema) == expected
    assert (document, patch) == before


def test_ports_of_a_service_merge_by_number() -> None:
    document = {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}}
    result = strategic_merge(document, {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}, SERVICE)
    assert result["spec"]["ports"] == [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "admin", "port": 81},
    ]


def test_ports_inside_a_template_merge_through_definitions() -> None:
    document = {"spec": {"template": {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}}}}
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 2}]}]}}}}
    result = strategic_merge(document, patch, DEPLOYMENT)
    ports = result["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert {port["containerPort"] for port in ports} == {1, 2}


REFUSE = {
    "an_element_without_merge_key": (_pod({"name": "a"}), _pod({"image": "1"}), 422),
    "a_directive_nobody_knows": (_pod({"name": "a"}), _pod({"name": "a", "$patch": "spoil"}), 422),
    "retain_keys_without_a_patched_key": (
        {"spec": {"strategy": {}}},
        {"spec": {"strategy": {"$retainKeys": ["x"], "type": "Recreate"}}},
        400,
    ),
    "an_order_that_misses_a_patched_element": (
        _pod({"name": "a"}),
        {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}},
        422,
    ),
    "a_patch_that_is_no_object": ({}, [], 400),
}


@pytest.mark.parametrize(("document", "patch", "status"), REFUSE.values(), ids=REFUSE)
def test_a_patch_that_contradicts_itself_is_refused(document: Any, patch: Any, status: int) -> None:
    with pytest.raises(PatchError) as refused:
        strategic_merge(document, patch, DEPLOYMENT if "strategy" in document.get("spec", {}) else POD)
    assert refused.value.status == status


NAMES = st.sampled_from("abcde")
ELEMENTS = st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["image", "workingDir"]), NAMES), max_size=5)
CHANGES = st.dictionaries(
    NAMES, st.none() | st.dictionaries(st.sampled_from(["image", "workingDir"]), st.none() | NAMES), max_size=5
)


def _as_list(elements: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **members} for name, members in elements.items()]


@given(ELEMENTS, CHANGES)
def test_a_list_of_maps_merges_like_a_map_by_key(elements: Any, changes: Any) -> None:
    patch = [
        {"name": name, "$patch": "delete"} if members is None else {"name": name, **members}
        for name, members in changes.items()
    ]
    expected = {name: dict(members) for name, members in elements.items()}
    for name, members in changes.items():
        if members is None:
            expected.pop(name, None)
        else:
            merged = expected.setdefault(name, {}) | members
            expected[name] = {key: value for key, value in merged.items() if value is not None}
    result = strategic_merge(_pod(*_as_list(elements)), _pod(*patch), POD)["spec"]["containers"]
    assert {one["name"]: {key: value for key, value in one.items() if key != "name"} for one in result} == expected


@given(ELEMENTS, st.permutations("abcde"))
def test_a_full_order_list_puts_elements_in_that_order(elements: Any, order: Any) -> None:
    wanted = [name for name in order if name in elements]
    patch = {"spec": {"$setElementOrder/containers": [{"name": name} for name in wanted]}}
    result = strategic_merge(_pod(*_as_list(elements)), patch, POD)["spec"]["containers"]
    assert [one["name"] for one in result] == wanted


@given(ELEMENTS)
def test_a_patch_with_the_document_itself_changes_nothing(elements: Any) -> None:
    document = _pod(*_as_list(elements))
    assert strategic_merge(document, document, POD) == document
