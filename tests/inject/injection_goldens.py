"""Istio's own injection goldens, compared as data: quantities by value, JSON inside strings as JSON, empty as absent."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

from lateen.base.errors import LateenError
from lateen.base.quantity import is_quantity, parse_quantity
from lateen.inject.kube_inject import inject_documents
from lateen.inject.settings import read_settings


def load_cases(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "cases.json").read_text())


def run_case(folder: Path, case: dict[str, Any]) -> list[Any]:
    values = json.loads((folder / case["values_file"]).read_text())
    mesh = json.loads((folder / case["mesh_config_file"]).read_text())
    environment = case["istiod_env"] or {}
    old = any(version.startswith("v1.28") for version in case["node_kubelet_versions"])
    settings = read_settings(
        values,
        mesh,
        native_sidecars=environment.get("ENABLE_NATIVE_SIDECARS") != "false" and not old,
        compliance_policy=environment.get("COMPLIANCE_POLICY", ""),
    )
    documents = [one for one in yaml.safe_load_all((folder / case["input"]).read_text()) if one]
    return inject_documents(documents, settings)


def find_differences(folder: Path, case: dict[str, Any]) -> list[str]:
    wanted_error = case["expected_error_contains"]
    try:
        found = run_case(folder, case)
    except LateenError as error:
        if wanted_error and wanted_error in str(error).lower():
            return []
        return [f"error: {error}"]
    if wanted_error:
        return [f"no error that says {wanted_error}"]
    expected = [one for one in yaml.safe_load_all((folder / case["expected"]).read_text()) if one]
    differences: list[str] = []
    _compare("", normalise(expected), normalise(copy.deepcopy(found)), differences)
    return differences


def normalise(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        items = {name: normalise(one, name) for name, one in value.items()}
        return {name: one for name, one in items.items() if one not in (None, {}, [], "", 0)}
    if isinstance(value, list):
        return [normalise(one, key) for one in value]
    if isinstance(value, str) and value[:1] in ("{", "[") and value[-1:] in ("}", "]", "\n"):
        try:
            return normalise(json.loads(value))
        except ValueError:
            return value
    if key == "image" and isinstance(value, str):
        return value.rpartition(":")[0] or value
    if key in ("cpu", "memory", "port") and is_quantity(str(value)):
        return str(parse_quantity(str(value)).normalize())
    return value


def _compare(path: str, expected: Any, found: Any, differences: list[str]) -> None:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            _compare(f"{path}.{key}", expected.get(key), found.get(key), differences)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (left, right) in enumerate(zip(expected, found, strict=True)):
            _compare(f"{path}[{index}]", left, right, differences)
    elif expected != found:
        differences.append(f"{path}: expected {expected!r}, found {found!r}")
