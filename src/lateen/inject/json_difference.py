"""The JSON patch (RFC 6902) that makes one document of another.

Flow: before, after -> operations, in an order in which they apply. Maps are compared by key; a list that differs is
replaced whole unless elements were only added at its end, which keeps a patch of a pod short and readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Operation = dict[str, Any]


def build_json_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Operation]:
    """The operations; none when both are equal."""
    operations: list[Operation] = []
    _compare_maps("", before, after, operations)
    return operations


def _compare(path: str, before: Any, after: Any, operations: list[Operation]) -> None:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        _compare_maps(path, before, after, operations)
    elif isinstance(before, list) and isinstance(after, list) and after[: len(before)] == before:
        operations.extend({"op": "add", "path": f"{path}/-", "value": one} for one in after[len(before) :])
    else:
        operations.append({"op": "replace", "path": path, "value": after})


def _compare_maps(path: str, before: Mapping[str, Any], after: Mapping[str, Any], operations: list[Operation]) -> None:
    for name, value in before.items():
        place = f"{path}/{_escape(name)}"
        if name in after:
            _compare(place, value, after[name], operations)
        else:
            operations.append({"op": "remove", "path": place})
    for name, value in after.items():
        if name not in before:
            operations.append({"op": "add", "path": f"{path}/{_escape(name)}", "value": value})


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
