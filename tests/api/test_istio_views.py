"""The views are complete and read everything that Istio's own data holds."""

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

import lateen.api
from lateen.api.codec import decode
from lateen.api.istio_views import ISTIO_VIEWS
from lateen.api.kinds_istio import ISTIO
from lateen.api.mesh_config import MeshConfig
from lateen.api.view import ProtoView, View

SHARED = Path(os.environ.get("LATEEN_SHARED", Path(__file__).parents[2].parent / "shared"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")


def _all_views(view: type[View]) -> Iterator[type[View]]:
    for child in view.__subclasses__():
        yield child
        yield from _all_views(child)


def _view_in(annotation: Any) -> type[View] | None:
    if isinstance(annotation, type) and issubclass(annotation, View):
        return annotation
    found = (_view_in(part) for part in get_args(annotation) if part is not type(None))
    return next((view for view in found if view is not None), None)


def _unknown_fields(view: type[View], document: Any, path: str) -> Iterator[str]:
    """Fields of a document that its view does not know, by JSON name."""
    hints = get_type_hints(view, include_extras=True)
    attributes = dict(zip(view.__struct_encode_fields__, view.__struct_fields__, strict=True))
    for name, value in document.items():
        attribute = attributes.get(name) or (name if name in hints else None)
        if attribute is None:
            yield f"{path}.{name}"
            continue
        inner = _view_in(hints[attribute])
        if inner is None:
            continue
        if isinstance(value, list):
            for item in value:
                yield from _unknown_fields(inner, item, f"{path}.{name}[]")
        elif isinstance(value, dict) and "Mapping" in str(hints[attribute]):
            for item in value.values():
                yield from _unknown_fields(inner, item, f"{path}.{name}{{}}")
        elif isinstance(value, dict):
            yield from _unknown_fields(inner, value, f"{path}.{name}")


def _istio_objects(folder: str) -> Iterator[dict[str, Any]]:
    for file in sorted((SHARED / folder).rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if document and ".istio.io/" in str(document.get("apiVersion")) and document["kind"] in ISTIO_VIEWS:
                yield document


def test_every_istio_kind_has_a_view() -> None:
    assert set(ISTIO_VIEWS) == {kind.kind for kind in ISTIO}


def test_attributes_have_the_json_names_that_proto3_derives() -> None:
    for module in pkgutil.iter_modules(lateen.api.__path__):
        importlib.import_module(f"lateen.api.{module.name}")
    different = {
        (view.__name__, name)
        for view in _all_views(ProtoView)
        for attribute, name in zip(view.__struct_fields__, view.__struct_encode_fields__, strict=True)
        if re.sub("_(.)", lambda part: part[1].upper(), attribute.rstrip("_")) != name
    }
    assert different == {("MeshConfig", "meshMTLS")}


def test_one_of_groups_name_attributes_that_default_to_absent() -> None:
    for view in _all_views(ProtoView):
        for attribute in (name for group in view.ONE_OF for name in group):
            hint = get_type_hints(view)[attribute]
            assert type(None) in get_args(hint), f"{view.__name__}.{attribute}"


@needs_shared
@pytest.mark.parametrize("folder", ["samples", "article"])
def test_every_istio_object_of_the_samples_is_read_without_a_rest(folder: str) -> None:
    documents = list(_istio_objects(folder))
    assert documents
    for document in documents:
        view = ISTIO_VIEWS[document["kind"]]
        assert decode(document, view).errors == ()
        spec = get_type_hints(view)["spec"]
        assert list(_unknown_fields(spec, document["spec"], "spec")) == []


@needs_shared
def test_views_have_every_field_of_istios_own_schemas() -> None:
    def missing(view: type[View], schema: Any, path: str) -> Iterator[str]:
        hints = get_type_hints(view, include_extras=True)
        attributes = dict(zip(view.__struct_encode_fields__, view.__struct_fields__, strict=True))
        for name, part in schema.get("properties", {}).items():
            attribute = attributes.get(name) or (name if name in hints else None)
            if attribute is None:
                yield f"{path}.{name}"
                continue
            part = part.get("items", part)
            part = part.get("additionalProperties", part)
            inner = _view_in(hints[attribute])
            if part.get("properties"):
                assert inner is not None, f"{path}.{name}"
                yield from missing(inner, part, f"{path}.{name}")

    file = SHARED / "conformance/validation/crd-all.gen.yaml"
    for crd in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
        for version in crd["spec"]["versions"]:
            schema = version["schema"]["openAPIV3Schema"]["properties"]
            hints = get_type_hints(ISTIO_VIEWS[crd["spec"]["names"]["kind"]])
            assert list(missing(hints["spec"], schema["spec"], "spec")) == []
            assert list(missing(hints["status"], schema["status"], "status")) == []


@needs_shared
def test_what_istio_calls_valid_is_read() -> None:
    cases = json.loads((SHARED / "conformance/validation/cases.json").read_text())
    valid = [case for case in cases if case["valid"] and case["kind"] in ISTIO_VIEWS]
    assert len(valid) > 100
    refused = {case["id"]: e for case in valid if (e := decode(case, ISTIO_VIEWS[case["kind"]]).errors)}
    assert refused == {}


@needs_shared
def test_mesh_configurations_are_read_without_a_rest() -> None:
    configurations = [
        mesh_config
        for file in sorted((SHARED / "conformance/simulation/cases").glob("*.json"))
        if (mesh_config := json.loads(file.read_text())["input"].get("mesh_config"))
    ]
    assert configurations
    for configuration in configurations:
        assert decode(configuration, MeshConfig).errors == ()
        assert list(_unknown_fields(MeshConfig, configuration, "")) == []


def test_an_empty_mesh_configuration_is_istios_default() -> None:
    value = decode({}, MeshConfig).value
    assert value is not None
    assert value.root_namespace == "istio-system"
    assert value.outbound_traffic_policy.mode == "ALLOW_ANY"
    assert value.enable_auto_mtls
    assert value.default_config.drain_duration.total_seconds() == 45


def test_two_members_of_a_one_of_group_are_refused() -> None:
    document = {"spec": {"http": [{"match": [{"uri": {"exact": "/a", "prefix": "/b"}}]}]}}
    (error,) = decode(document, ISTIO_VIEWS["VirtualService"]).errors
    assert str(error) == "spec.http[0].match[0].uri: only one of exact, prefix may be set"
