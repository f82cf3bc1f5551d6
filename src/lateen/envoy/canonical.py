"""Envoy configuration as canonical YAML: for golden files, diffs and people.

message or proto3 JSON document -> YAML text.

Invariants: equal messages give equal text; fields and map keys are sorted, with `name` first so that a list
reads by its items' names; repeated fields keep their order; durations and wrappers are proto3 JSON. Reading
the text back gives the same message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from lateen.envoy.messages import EnvoyMessage, build_document

_LEADING_FIELDS = ("@type", "name", "clusterName")


class _CanonicalDumper(yaml.SafeDumper):
    """Block style, no aliases, list items indented under their key."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_CanonicalDumper.add_representer(str, _represent_text)


def _order(value: Any) -> Any:
    if isinstance(value, Mapping):
        leading = [key for key in _LEADING_FIELDS if key in value]
        rest = sorted(key for key in value if key not in _LEADING_FIELDS)
        return {key: _order(value[key]) for key in (*leading, *rest)}
    if isinstance(value, list):
        return [_order(item) for item in value]
    return value


def format_document(document: Any) -> str:
    """Return a JSON-like document as canonical YAML."""
    return yaml.dump(
        _order(document),
        Dumper=_CanonicalDumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=110,
    )


def format_messages(messages: Iterable[EnvoyMessage]) -> str:
    """Return messages as one YAML list, in the order given."""
    return format_document([build_document(message) for message in messages])
