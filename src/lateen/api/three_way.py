"""The patch of a client-side apply: (last applied, wanted) -> strategic or merge patch.

What is wanted is sent whole; what was applied last time and is not wanted any more is deleted: map fields by null,
elements of lists with a merge key by `$patch: delete`. Fields that others set stay. What was applied last
stands in the annotation `kubectl.kubernetes.io/last-applied-configuration`, as kubectl keeps it.
Source: the Kubernetes page "Declarative Management of Kubernetes Objects Using Configuration Files".
"""

from __future__ import annotations

import json
from typing import Any

from lateen.api.schema.definitions import follow
from lateen.api.schema.model import ANYTHING, Schema

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def with_last_applied(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the annotation that records it."""
    metadata = document.get("metadata") or {}
    annotations = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}
    plain = {**document, "metadata": {**metadata, "annotations": annotations}}
    record = json.dumps(plain, separators=(",", ":"), sort_keys=True) + "\n"
    return {**document, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: record}}}


def find_last_applied(live: dict[str, Any]) -> dict[str, Any]:
    """What the stored object says was applied last; empty when it says nothing that can be read."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def build_apply_patch(last: dict[str, Any], wanted: dict[str, Any], schema: Schema | None) -> dict[str, Any]:
    """The patch; a strategic one for kinds with a schema of Kubernetes' own, otherwise a merge patch."""
    return _patch_map(last, wanted, schema if schema is not None else ANYTHING)


def _patch_map(last: dict[str, Any], wanted: dict[str, Any], schema: Schema) -> dict[str, Any]:
    schema = follow(schema)
    patch: dict[str, Any] = {key: None for key in last if key not in wanted}
    for key, value in wanted.items():
        field = schema.properties.get(key) or schema.value_schema or ANYTHING
        patch[key] = _patch_value(last.get(key), value, field)
    return patch


def _patch_value(last: Any, wanted: Any, schema: Schema) -> Any:
    if isinstance(wanted, dict) and isinstance(last, dict):
        return _patch_map(last, wanted, schema)
    merges = "merge" in schema.patch_strategy and schema.merge_key
    if isinstance(wanted, list) and isinstance(last, list) and merges and schema.merge_key:
        return _patch_list(last, wanted, schema, schema.merge_key)
    return wanted


def _patch_list(last: list[Any], wanted: list[Any], schema: Schema, merge_key: str) -> list[Any]:
    before = {item[merge_key]: item for item in last if isinstance(item, dict) and merge_key in item}
    element = schema.items or ANYTHING
    patch: list[Any] = []
    kept = set()
    for item in wanted:
        key = item.get(merge_key) if isinstance(item, dict) else None
        kept.add(key)
        patch.append(_patch_map(before[key], item, element) if key in before else item)
    return patch + [{merge_key: key, "$patch": "delete"} for key in before if key not in kept]
