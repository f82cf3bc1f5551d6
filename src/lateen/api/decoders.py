"""Decoders of single values: text, numbers, durations and enumerations, each reporting what is wrong and
where.

Flow: (JSON value, path, list of errors) -> value. A decoder never raises: it appends to the errors and
returns something, because the caller drops the whole view when there are errors.
Source: proto3's JSON mapping as golang/protobuf's jsonpb reads it: integers and numbers may be strings,
enumerations may be numbers, durations are Go's (`1m` is fine). `lenient` turns these forms on.
"""

import types
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from lateen.base.durations import parse_duration
from lateen.base.errors import DataError


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


Path: TypeAlias = "tuple[Path, str | int | MapKey] | None"
Decoder: TypeAlias = Callable[[Any, Path, list[FieldError]], Any]


class MapKey(str):
    """A path segment that is a key of a map, which paths show in brackets."""


def _format_path(path: Path) -> str:
    segments: list[str] = []
    while path is not None:
        path, segment = path
        bracketed = isinstance(segment, (int, MapKey))
        segments.append(f"[{segment}]" if bracketed else f".{segment}")
    return "".join(reversed(segments)).removeprefix(".")


def refuse(path: Path, errors: list[FieldError], message: str) -> None:
    """Add an error for the field at `path`."""
    errors.append(FieldError(path=_format_path(path), message=message))


def describe(value: Any) -> str:
    """What a value is, in the words of an error message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the string "{value}"' if len(value) <= 40 else f'the string "{value[:37]}..."'
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


SCALARS = {str: "a string", bool: "true or false"}


def build_scalar_decoder(scalar: type) -> Decoder:
    """Text and truth values must be of exactly this type."""

    def decode_scalar(value: Any, path: Path, errors: list[FieldError]) -> Any:
        if type(value) is not scalar:
            refuse(path, errors, f"must be {SCALARS[scalar]}, not {describe(value)}")
        return value

    return decode_scalar


def _is_integral(value: Any, *, lenient: bool) -> bool:
    """Whether a text or a float says an integer; texts count in proto3's JSON only."""
    if isinstance(value, str):
        return lenient and value.isascii() and value.removeprefix("-").isdecimal() and len(value) <= 20
    return isinstance(value, float) and value.is_integer()


def build_integer_decoder(width: msgspec.Meta | None, *, lenient: bool) -> Decoder:
    """Integers within the bounds of `width`, or of 64 bits."""

    lowest = width.ge if width is not None and width.ge is not None else -(2**63)
    highest = width.le if width is not None and width.le is not None else 2**64 - 1

    def decode_integer(value: Any, path: Path, errors: list[FieldError]) -> Any:
        number = int(value) if _is_integral(value, lenient=lenient) else value
        if type(number) is not int:
            refuse(path, errors, f"must be an integer, not {describe(value)}")
        elif not lowest <= number <= highest:
            refuse(path, errors, f"must be between {lowest} and {highest}, not {number}")
        return number

    return decode_integer


def build_number_decoder(*, lenient: bool) -> Decoder:
    """Numbers, always as float."""

    def decode_number(value: Any, path: Path, errors: list[FieldError]) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if lenient and isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                pass
        refuse(path, errors, f"must be a number, not {describe(value)}")
        return value

    return decode_number


def decode_duration(value: Any, path: Path, errors: list[FieldError]) -> Any:
    """A Go duration as timedelta."""
    if not isinstance(value, str):
        refuse(path, errors, f'must be a duration such as "1.5s", not {describe(value)}')
        return value
    try:
        return parse_duration(value)
    except DataError:
        refuse(path, errors, f'must be a duration such as "1.5s", not {describe(value)}')
        return value


def build_enum_decoder(names: tuple[str, ...], *, lenient: bool) -> Decoder:
    """One of the names; `names` stand in the order of their numbers, from 0."""

    def decode_enum(value: Any, path: Path, errors: list[FieldError]) -> Any:
        if value in names:
            return value
        if lenient and type(value) is int and 0 <= value < len(names):
            return names[value]
        refuse(path, errors, f"must be one of {', '.join(names)}, not {describe(value)}")
        return value

    return decode_enum


def decode_number_or_string(value: Any, path: Path, errors: list[FieldError]) -> Any:
    """Kubernetes' IntOrString and Quantity, as they come."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, types.NoneType)):
        refuse(path, errors, f"must be a number or a string, not {describe(value)}")
    return value
