"""JSON Patch: the examples of RFC 6902, and patches made by a simple diff."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lateen.api.patch import PatchError, apply_patch, json_patch, merge_patch

APPLY = {
    "adding_an_object_member": ({"foo": "bar"}, [("add", "/baz", "qux")], {"baz": "qux", "foo": "bar"}),
    "adding_an_array_element": ({"foo": ["bar", "baz"]}, [("add", "/foo/1", "qux")], {"foo": ["bar", "qux", "baz"]}),
    "removing_an_object_member": ({"baz": "qux", "foo": "bar"}, [("remove", "/baz")], {"foo": "bar"}),
    "removing_an_array_element": ({"foo": ["bar", "qux", "baz"]}, [("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
    "replacing_a_value": ({"baz": "qux"}, [("replace", "/baz", "boo")], {"baz": "boo"}),
    "adding_to_the_end": ({"foo": ["bar"]}, [("add", "/foo/-", ["abc"])], {"foo": ["bar", ["abc"]]}),
    "adding_a_nested_object": ({"foo": "bar"}, [("add", "/child", {"x": {}})], {"foo": "bar", "child": {"x": {}}}),
    "escaped_keys": ({"/": 9, "~1": 10}, [("test", "/~01", 10), ("replace", "/~1", 1)], {"/": 1, "~1": 10}),
    "a_negative_index_counts_from_the_end": ({"a": [1, 2]}, [("replace", "/a/-1", 3)], {"a": [1, 3]}),
    "replacing_the_whole_document": ({"a": 1}, [("replace", "", {"b": 2})], {"b": 2}),
    "testing_null_where_nothing_is": ({"a": 1}, [("test", "/b", None)], {"a": 1}),
    "equal_numbers": ({"a": 1}, [("test", "/a", 1.0)], {"a": 1}),
}
REFUSE = {
    "removing_what_is_not_there": ({"a": 1}, [("remove", "/b")]),
    "replacing_what_is_not_there": ({"a": 1}, [("replace", "/b", 1)]),
    "adding_below_what_is_not_there": ({"foo": "bar"}, [("add", "/baz/bat", "qux")]),
    "a_test_that_fails": ({"baz": "qux"}, [("test", "/baz", "bar")]),
    "text_is_no_number": ({"~1": 10}, [("test", "/~01", "10")]),
    "true_is_not_one": ({"a": True}, [("test", "/a", 1)]),
    "an_index_past_the_end": ({"a": [1]}, [("add", "/a/2", 1)]),
    "an_index_with_a_leading_zero": ({"a": [1, 2]}, [("remove", "/a/01")]),
    "an_operation_nobody_knows": ({"a": 1}, [("spoil", "/a", 1)]),
}


def _operations(short: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(("op", "path", "value"), one, strict=False)) for one in short]


@pytest.mark.parametrize(("document", "operations", "expected"), APPLY.values(), ids=APPLY)
def test_an_operation_does_what_the_rfc_says(document: Any, operations: Any, expected: Any) -> None:
    before = copy.deepcopy(document)
    assert json_patch(document, _operations(operations)) == expected
    assert document == before


@pytest.mark.parametrize(("document", "operations"), REFUSE.values(), ids=REFUSE)
def test_an_operation_that_does_not_apply_is_refused(document: Any, operations: Any) -> None:
    with pytest.raises(PatchError) as refused:
        json_patch(document, _operations(operations))
    assert refused.value.status == 422


def test_moving_takes_a_value_away_from_where_it_was() -> None:
    document = {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}
    patch = [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]
    assert json_patch(document, patch) == {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}


def test_a_value_cannot_be_moved_into_itself() -> None:
    with pytest.raises(PatchError):
        json_patch({"a": {"b": {}}}, [{"op": "move", "from": "/a", "path": "/a/b/c"}])


def test_copying_leaves_two_values_that_share_nothing() -> None:
    document = {"a": {"x": [1]}}
    result = json_patch(document, [{"op": "copy", "from": "/a", "path": "/b"}])
    assert result == {"a": {"x": [1]}, "b": {"x": [1]}}
    assert result["b"] is not document["a"]


def test_a_patch_that_is_no_list_is_a_bad_request() -> None:
    with pytest.raises(PatchError) as refused:
        json_patch({}, {"op": "add"})
    assert refused.value.status == 400


def test_a_patch_of_too_many_operations_is_too_large() -> None:
    with pytest.raises(PatchError) as refused:
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * 10_001)
    assert refused.value.status == 413


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~0", max_size=2), inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text("ab/~0", max_size=2), VALUES, max_size=4)


def _diff(old: Any, new: Any, path: str = "") -> list[dict[str, Any]]:
    """A patch from one value to another, as simple as can be."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[dict[str, Any]] = []
        for key in old.keys() | new.keys():
            here = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in new:
                found.append({"op": "remove", "path": here})
            elif key not in old:
                found.append({"op": "add", "path": here, "value": new[key]})
            else:
                found += _diff(old[key], new[key], here)
        return found
    if isinstance(old, list) and isinstance(new, list):
        shared = min(len(old), len(new))
        found = [step for place in range(shared) for step in _diff(old[place], new[place], f"{path}/{place}")]
        found += [{"op": "remove", "path": f"{path}/{shared}"}] * (len(old) - shared)
        return found + [{"op": "add", "path": f"{path}/-", "value": item} for item in new[shared:]]
    return [{"op": "replace", "path": path, "value": new}]


@given(DOCUMENTS, DOCUMENTS)
def test_applying_a_difference_gives_the_other_document(old: Any, new: Any) -> None:
    before = copy.deepcopy(old)
    assert json_patch(old, _diff(old, new)) == new
    assert old == before


def _merge_diff(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    removed = dict.fromkeys(old.keys() - new.keys())
    return removed | {key: _merge_diff(old.get(key), value) for key, value in new.items() if old.get(key) != value}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


@given(DOCUMENTS, DOCUMENTS)
def test_merging_a_difference_gives_the_other_document(old: Any, new: Any) -> None:
    old, new = _without_nulls(old), _without_nulls(new)
    before = copy.deepcopy(old)
    assert merge_patch(old, _merge_diff(old, new)) == new
    assert old == before


MERGE = {
    "a_value_replaces": ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    "null_deletes": ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    "lists_are_replaced": ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    "a_map_replaces_a_list": ({"a": ["b"]}, {"a": {"b": None}}, {"a": {}}),
    "nulls_in_new_maps_vanish": ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
}


@pytest.mark.parametrize(("document", "patch", "expected"), MERGE.values(), ids=MERGE)
def test_a_merge_patch_does_what_the_rfc_says(document: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(document, patch) == expected


def test_a_media_type_nobody_knows_is_refused_with_those_that_are_taken() -> None:
    with pytest.raises(PatchError, match="application/merge-patch") as refused:
        apply_patch("application/strategic-merge-patch+json", {}, {}, None)
    assert refused.value.status == 415
