"""Mistakes in a document as kube-apiserver tells them: one `FieldError` a cause of the `Status` that
refuses it.

`message` is the text of one status cause (`Required value`, `Invalid value: 0: must be ...`), `reason` its
machine-readable name. Source: StatusCause and StatusDetails
of meta/v1, and the wording that kubectl users know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

#: Stands for a bad value that the message shall not show.
OMITTED: Any = object()


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field: path as in `spec.containers[0].name`, cause text and cause reason."""

    path: str
    message: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def quote(text: str) -> str:
    """A string in double quotes, escaped."""
    return json.dumps(text, ensure_ascii=False)


def format_value(value: Any) -> str:
    """A JSON value as messages show it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _with_value(label: str, value: Any, detail: str) -> str:
    text = label if value is OMITTED else f"{label}: {format_value(value)}"
    return f"{text}: {detail}" if detail else text


def required(path: str, detail: str = "") -> FieldError:
    """A value that must be there is missing or empty."""
    return FieldError(path, _with_value("Required value", OMITTED, detail), "FieldValueRequired")


def invalid(path: str, value: Any, detail: str) -> FieldError:
    """A value is malformed."""
    return FieldError(path, _with_value("Invalid value", value, detail), "FieldValueInvalid")


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    """A value has the wrong JSON type for a custom resource's schema."""
    return FieldError(path, _with_value("Invalid value", value, detail), "FieldValueTypeInvalid")


def not_supported(path: str, value: Any, allowed: Iterable[Any]) -> FieldError:
    """A value is none of an enumeration; `allowed` in the order the message shall list them."""
    values = ", ".join(quote(one if isinstance(one, str) else format_value(one)) for one in allowed)
    detail = f"supported values: {values}" if values else ""
    return FieldError(path, _with_value("Unsupported value", value, detail), "FieldValueNotSupported")


def duplicate(path: str, value: Any) -> FieldError:
    """A value that must be unique stands there twice."""
    return FieldError(path, _with_value("Duplicate value", value, ""), "FieldValueDuplicate")


def forbidden(path: str, detail: str) -> FieldError:
    """A well-formed value is not allowed here."""
    return FieldError(path, _with_value("Forbidden", OMITTED, detail), "FieldValueForbidden")


def not_found(path: str, value: Any) -> FieldError:
    """A value names something that is not there."""
    return FieldError(path, _with_value("Not found", value, ""), "FieldValueNotFound")


def too_long(path: str, most_bytes: int) -> FieldError:
    """A string is longer than allowed."""
    unit = "byte" if most_bytes == 1 else "bytes"
    return FieldError(path, f"Too long: may not be more than {most_bytes} {unit}", "FieldValueTooLong")


def too_many(path: str, found: Any, most: int) -> FieldError:
    """A list or map has more members than allowed."""
    unit = "item" if most == 1 else "items"
    return FieldError(path, _with_value("Too many", found, f"must have at most {most} {unit}"), "FieldValueTooMany")


def format_errors(errors: Sequence[FieldError]) -> str:
    """One error as it is, several in brackets without repetition."""
    texts = list(dict.fromkeys(map(str, errors)))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
