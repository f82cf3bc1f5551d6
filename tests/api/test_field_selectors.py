"""Field selectors and JSONPath."""

from __future__ import annotations

from typing import Any

import pytest

from lateen.api.jsonpath import format_value, parse_jsonpath
from lateen.api.selectors import parse_field_selector
from lateen.base.errors import DataError

POD = {
    "metadata": {"name": "web", "namespace": "shop", "annotations": {"a.b/c": "x"}},
    "spec": {"nodeName": "n1", "containers": [{"name": "a", "ports": [{"containerPort": 1}]}, {"name": "b"}]},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "False"}],
    },
}

SELECTED = {
    "metadata.name=web": True,
    "metadata.name==web,metadata.namespace=shop": True,
    "metadata.name!=web": False,
    "status.phase=Running,spec.nodeName!=n2": True,
    "status.phase=Pending": False,
    "spec.hostNetwork=false": True,
    "spec.host=n1": True,
    "": True,
    "status.podIP=": True,
}


@pytest.mark.parametrize(("text", "expected"), SELECTED.items())
def test_a_selector_selects_by_fields(text: str, expected: bool) -> None:
    assert parse_field_selector(text, kind="Pod").matches(POD) is expected


def test_an_escaped_comma_belongs_to_the_value() -> None:
    selector = parse_field_selector(r"metadata.name=a\,b\=c", kind="Pod")
    assert selector.exact("metadata.name") == "a,b=c"


def test_a_field_of_an_event_is_found_in_either_api() -> None:
    selector = parse_field_selector("involvedObject.name=web,reason=Started", kind="Event")
    assert selector.matches({"involvedObject": {"name": "web"}, "reason": "Started"})
    assert selector.matches({"regarding": {"name": "web"}, "reason": "Started"})


def test_a_crd_offers_its_selectable_fields() -> None:
    selector = parse_field_selector("spec.color=red", group="x.io", kind="Thing", extra=[".spec.color"])
    assert selector.matches({"spec": {"color": "red"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.image=x", "field label not supported: spec.image"),
        ("metadata.name", "can't understand 'metadata.name'"),
        (r"metadata.name=a\b", "invalid escape sequence"),
        ("metadata.name=a=b", "unescaped character"),
    ],
)
def test_a_selector_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("\\", r"\\")):
        parse_field_selector(text, kind="Pod")


FOUND: dict[str, list[Any]] = {
    ".metadata.name": ["web"],
    "{.metadata.name}": ["web"],
    "$.metadata.name": ["web"],
    ".metadata.annotations.a\\.b/c": ["x"],
    ".metadata.annotations['a.b/c']": ["x"],
    ".spec.containers[*].name": ["a", "b"],
    ".spec.containers[0].name": ["a"],
    ".spec.containers[-1].name": ["b"],
    ".spec.containers[0:1].name": ["a"],
    ".spec.containers[0,1].name": ["a", "b"],
    ".spec.containers[5].name": [],
    ".spec.nothing.here": [],
    "..containerPort": [1],
    '.status.conditions[?(@.type=="Ready")].status': ["True"],
    ".status.conditions[?(@.type=='Initialized')].status": ["False"],
    '.status.conditions[?(@.type!="Ready")].type': ["Initialized"],
    ".spec.containers[?(@.ports)].name": ["a"],
    ".spec.containers[?(@.ports[0].containerPort<2)].name": ["a"],
    ".metadata['name','namespace']": ["web", "shop"],
}


@pytest.mark.parametrize(("path", "expected"), FOUND.items())
def test_a_path_finds_what_kubectl_finds(path: str, expected: list[Any]) -> None:
    assert parse_jsonpath(path).find(POD) == expected


@pytest.mark.parametrize("path", [".a[", ".a[?(@.b=)]", ".a[]", ".a[x]"])
def test_a_path_that_cannot_be_read_is_refused(path: str) -> None:
    with pytest.raises(DataError):
        parse_jsonpath(path)


def test_lists_print_as_json_and_text_as_it_is() -> None:
    assert format_value(["reviews.prod"]) == '["reviews.prod"]'
    assert format_value("reviews") == "reviews"
    assert format_value(True) == "true"
