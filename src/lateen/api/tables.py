"""Objects as the `Table` that `kubectl get` prints: (kind, documents, now) -> meta.k8s.io/v1 Table.

Built-in kinds have their own layouts (`printing`), custom kinds the printer columns of their CRD, read by
JSONPath, and the few without either show name and creation time. All columns are sent, wide ones with
priority 1: kubectl hides what was not asked for. Pure: ages are measured against `now`. Source: the
Kubernetes page "API Concepts", section "Receiving resources as Tables".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from lateen.api.jsonpath import format_value, parse_jsonpath
from lateen.api.kinds import AGE, Column, Kind
from lateen.api.printing import access, cluster, network, pods, workloads
from lateen.api.printing.layout import ColumnDefinition, Layout, columns, name_of, parse_time, section, since

_LAYOUTS: dict[tuple[str, str], Layout] = (
    pods.LAYOUTS | workloads.LAYOUTS | network.LAYOUTS | cluster.LAYOUTS | access.LAYOUTS
)
_TABLE_VERSION = "meta.k8s.io/v1"


def build_table(
    kind: Kind,
    objects: Iterable[dict[str, Any]],
    *,
    now: datetime,
    include_object: str = "Metadata",
    version: str | None = None,
) -> dict[str, Any]:
    """The Table of these objects, in their order.

    `include_object` is the request's `includeObject`: `Metadata`, `Object` or `None`. `version` is the
    served version; the columns of a kind are the same in all of them.
    """
    layout = find_layout(kind)
    with_conditions = (kind.group, kind.kind) == ("", "Pod")
    rows = []
    for document in objects:
        row: dict[str, Any] = {"cells": layout.cells(document, now)}
        if with_conditions and (conditions := pods.pod_conditions(document)):
            row["conditions"] = conditions
        if include_object == "Object":
            row["object"] = document
        elif include_object != "None":
            row["object"] = build_partial_metadata(document)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": _TABLE_VERSION,
        "metadata": {},
        "columnDefinitions": [msgspec.to_builtins(column) for column in layout.columns],
        "rows": rows,
    }


def build_partial_metadata(document: dict[str, Any]) -> dict[str, Any]:
    """The object reduced to its metadata."""
    metadata = document.get("metadata") or {}
    return {"kind": "PartialObjectMetadata", "apiVersion": _TABLE_VERSION, "metadata": metadata}


def find_layout(kind: Kind) -> Layout:
    """The layout of a kind, whichever of the three sources it comes from."""
    found = _LAYOUTS.get((kind.group, kind.kind))
    if found is not None:
        return found
    return _GENERIC if kind.builtin and not kind.columns else _custom_layout(kind.columns or (AGE,))


def _custom_layout(own: Sequence[Column]) -> Layout:
    definitions = [ColumnDefinition(one.name, one.type, one.format, "", one.priority) for one in own]
    paths = [(one.type, parse_jsonpath(one.json_path)) for one in own]

    def cells(document: Any, now: datetime) -> list[Any]:
        return [name_of(document), *(_cell(kind, path.first(document), now) for kind, path in paths)]

    return Layout((*columns("Name"), *definitions), cells)


def _cell(kind: str, value: Any, now: datetime) -> Any:
    """A value as the column's type wants it, None where it does not fit."""
    match kind, value:
        case _, None:
            return None
        case "string", _:
            return format_value(value)
        case "date", str():
            return "<invalid>" if parse_time(value) is None else since(value, now)
        case "boolean", bool():
            return value
        case (("integer" | "number"), bool()):
            return None
        case "integer", int() | float():
            return int(value)
        case "number", int() | float():
            return float(value)
        case _:
            return None


def _generic(document: Any, now: datetime) -> list[Any]:
    return [name_of(document), section(document, "metadata").get("creationTimestamp")]


_GENERIC = Layout(columns("Name", "Created At:date"), _generic)
