"""What the table layouts share: column declarations, ages, selectors, label lists.

A `Layout` is the columns of one kind and a function (document, now) -> cells, one cell a column, wide
columns included (kubectl hides those of priority 1 itself). Source: what `kubectl get` prints against
Kubernetes 1.34.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

Document = Mapping[str, Any]
Cells = Callable[[Document, datetime], list[Any]]

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"


class ColumnDefinition(msgspec.Struct, frozen=True, omit_defaults=False):
    """One column as the `Table` document declares it."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


class Layout(msgspec.Struct, frozen=True):
    """The columns of a kind and how its objects fill them."""

    columns: tuple[ColumnDefinition, ...]
    cells: Cells


def columns(*names: str, wide: Sequence[str] = ()) -> tuple[ColumnDefinition, ...]:
    """Columns from `Name` or `Name:type`, with a plus in front for those of `-o wide`; `wide` are such ones
    at the end.

    The columns that hold names have the format `name`.
    """
    texts = [*names, *("+" + name for name in wide)]
    return tuple(map(_build_column, texts))


def _build_column(text: str) -> ColumnDefinition:
    name, _, kind = text.removeprefix("+").partition(":")
    form = "name" if name in {"Name", "Attacher"} else ""
    return ColumnDefinition(name, kind or "string", form, "", int(text.startswith("+")))


def section(document: Document, *path: str) -> Document:
    """The object at a path of keys, empty where there is none."""
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def items(document: Document, *path: str) -> list[Any]:
    """The list at a path of keys, empty where there is none."""
    found = section(document, *path[:-1]).get(path[-1])
    return found if isinstance(found, list) else []


def name_of(document: Document) -> str:
    """The object's name."""
    return str(section(document, "metadata").get("name", ""))


def parse_time(text: Any) -> datetime | None:
    """A Kubernetes time stamp, None when there is none or it cannot be read."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def since(text: Any, now: datetime) -> str:
    """How long ago a time stamp was, `<unknown>` without one."""
    found = parse_time(text)
    return UNKNOWN if found is None else format_duration(now - found)


def age_of(document: Document, now: datetime) -> str:
    """The age of an object."""
    return since(section(document, "metadata").get("creationTimestamp"), now)


def format_duration(span: timedelta) -> str:
    """A duration as kubectl rounds it: `45s`, `3m12s`, `25m`, `5h30m`, `3d4h`, `400d`, `3y20d`."""
    seconds = int(span.total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def format_labels(labels: Document) -> str:
    """`a=1,b=2`, sorted; `<none>` when empty."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def format_selector(selector: Document, *, empty: str = NONE) -> str:
    """A label selector as text: `app=web,tier in (a,b),!canary`, sorted by key."""
    parts = [(key, f"{key}={value}") for key, value in section(selector, "matchLabels").items()]
    for expression in items(selector, "matchExpressions"):
        key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or ()))
        match expression.get("operator"):
            case "In":
                parts.append((key, f"{key} in ({values})"))
            case "NotIn":
                parts.append((key, f"{key} notin ({values})"))
            case "Exists":
                parts.append((key, key))
            case "DoesNotExist":
                parts.append((key, f"!{key}"))
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0])) or empty


def format_some(values: Iterable[str], most: int, *, empty: str) -> str:
    """The first few of a list, and how many more there are."""
    found = list(values)
    text = ",".join(found[:most]) or empty
    return f"{text} + {len(found) - most} more..." if len(found) > most else text


def containers_of(spec: Document) -> tuple[str, str]:
    """Names and images of the containers of a pod spec."""
    found = items(spec, "containers")
    names = ",".join(container.get("name", "") for container in found)
    return names, ",".join(container.get("image", "") for container in found)
