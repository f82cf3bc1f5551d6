"""Fields that a JSON body has twice: bytes -> their paths, as field validation names them.

The last of several values counts, as in every JSON decoder; whoever asked for strict validation is refused, others are
warned. Source: the Kubernetes page "API Concepts", section "Field validation".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def _build(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        found.repeated = tuple(name for name in found if names.count(name) > 1)
    return found


def find_duplicates(body: bytes) -> list[str]:
    """The paths of repeated fields in a body that is known to be valid JSON."""
    return list(_find(json.loads(body, object_pairs_hook=_build), ""))


def _find(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Object):
        yield from (f"{path}.{name}" if path else name for name in value.repeated)
        for name, child in value.items():
            if isinstance(child, dict | list):
                yield from _find(child, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            if isinstance(child, dict | list):
                yield from _find(child, f"{path}[{index}]")
