"""Reading Envoy's configuration as JSON, whatever wrote it.

Invariants: field names are looked up in camelCase (proto3 JSON) and in snake_case (Envoy's admin interface); a wrapper
(`{"value": 5}`) reads as its value; 64-bit numbers may be text. Source: protobuf's JSON mapping, well-known types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

Document = Mapping[str, Any]

_CAPITAL = re.compile(r"(?<!^)([A-Z])")
_NOTHING: Document = {}
_DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}


@lru_cache(4096)
def _snake(name: str) -> str:
    return _CAPITAL.sub(lambda found: "_" + found[1].lower(), name)


def get(document: Document, name: str, default: Any = None) -> Any:
    """A field by its camelCase name."""
    found = document.get(name)
    if found is None:
        found = document.get(_snake(name))
    return default if found is None else found


def has(document: Document, name: str) -> bool:
    """Whether a field is set."""
    return get(document, name) is not None


def part(document: Document, *path: str) -> Document:
    """A message inside the message; empty when it is not set."""
    for name in path:
        found = get(document, name)
        if not isinstance(found, Mapping):
            return _NOTHING
        document = found
    return document


def items(document: Document, name: str) -> Sequence[Any]:
    """A repeated field."""
    found: Sequence[Any] = get(document, name, ())
    return found


def text(document: Document, name: str) -> str:
    """A string; empty when it is not set."""
    return str(get(document, name, ""))


def number(document: Document, name: str, default: int = 0) -> int:
    """An integer, wrapped or not."""
    found = get(document, name)
    if isinstance(found, Mapping):
        found = found.get("value", 0)
    return default if found is None else int(found)


def flag(document: Document, name: str, *, default: bool = False) -> bool:
    """A boolean, wrapped or not."""
    found = get(document, name)
    if isinstance(found, Mapping):
        found = found.get("value", False)
    return default if found is None else bool(found)


def duration(document: Document, name: str) -> timedelta | None:
    """A duration such as `1.5s`; None when it is not set."""
    found = get(document, name)
    return None if found is None else timedelta(seconds=float(str(found).removesuffix("s")))


def fraction(document: Document, name: str, *, default: float = 0.0) -> float:
    """A FractionalPercent as a number from 0 to 1."""
    if not has(document, name):
        return default
    found = part(document, name)
    if has(found, "defaultValue"):  # RuntimeFractionalPercent: its runtime key is not set here
        found = part(found, "defaultValue")
    return number(found, "numerator") / _DENOMINATORS[text(found, "denominator") or "HUNDRED"]


def config_of(extension: Document) -> Document:
    """The typed configuration of a filter or transport socket."""
    return part(extension, "typedConfig")


def is_type(message: Document, name: str) -> bool:
    """Whether an Any is of the message type whose name ends so."""
    return str(message.get("@type", "")).endswith(f".{name}")
