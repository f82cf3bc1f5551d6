"""The schema data in the package are those of the pinned wheel."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from lateen.api.kinds_builtin import BUILTIN
from lateen.api.schema import definitions

ROOT = Path(__file__).parents[2]


def _load_tool() -> ModuleType:
    path = ROOT / "tools/extract_kubernetes_schemas.py"
    spec = importlib.util.spec_from_file_location("extract_kubernetes_schemas", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_extracting_again_gives_the_same_data() -> None:
    pytest.importorskip("kubernetes_validate", exc_type=ImportError)
    tool = _load_tool()
    for name, content in tool.extract(tool.read_definitions()).items():
        kept = ROOT / "src/lateen/api/schema" / name
        assert gzip.decompress(kept.read_bytes()) == gzip.decompress(content), f"run {tool.__file__}"


def test_every_reference_leads_to_a_definition() -> None:
    names = definitions.definition_names()
    for name in names:
        schema = definitions.get_definition(name)
        for child in schema.properties.values():
            for one in (child, child.items, child.value_schema):
                assert one is None or one.ref is None or one.ref in names


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda kind: kind.qualified_name)
def test_every_built_in_kind_has_a_schema(kind: object) -> None:
    for version in kind.served_versions:  # type: ignore[attr-defined]
        name = definitions.find_definition_name(kind.group, version, kind.kind)  # type: ignore[attr-defined]
        assert name == kind.schema_name  # type: ignore[attr-defined]


def test_merge_keys_and_list_types_are_kept() -> None:
    spec = definitions.get_definition("io.k8s.api.core.v1.PodSpec")
    containers = spec.properties["containers"]
    assert (containers.merge_key, containers.patch_strategy) == ("name", "merge")
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    assert spec.properties["volumes"].patch_strategy == "merge,retainKeys"
