"""Decoding of documents into typed views, which reports every mistake at once with its field path.

Flow: (JSON document, view type) -> `Decoded(value, errors)`; the value is None exactly when there are
errors. Paths read as kubectl prints them: `spec.http[0].route[1].weight`, `metadata.labels[app]` for keys
of maps.

A decoder is built once per type from its annotations. Kubernetes types first go through msgspec, which is
about ten times faster, stops at the first mistake and cannot read proto3's lenient forms; only a refused
document, and every `ProtoView`, takes the way through here.
Source: proto3's JSON mapping as golang/protobuf's jsonpb reads it (durations are Go's: `1m` is fine).
"""

import types
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from lateen.api.view import ProtoView, View, Width
from lateen.base.durations import parse_duration
from lateen.base.errors import DataError

V = TypeVar("V", bound=View)


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Decoded(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """A typed view, or everything that is wrong with the document, in document order of the type's fields."""

    value: V | None
    errors: tuple[FieldError, ...] = ()


def decode(document: Mapping[str, Any], view: type[V]) -> Decoded[V]:
    """The document as `view`; unknown fields are ignored."""
    if not issubclass(view, ProtoView):
        try:
            return Decoded(value=msgspec.convert(document, view))
        except msgspec.ValidationError:
            pass
    errors: list[FieldError] = []
    value = _decoder_of(view)(document, None, errors)
    return Decoded(value=None if errors else value, errors=tuple(errors))


_Path: TypeAlias = "tuple[_Path, str | int | _MapKey] | None"
_Decoder: TypeAlias = Callable[[Any, _Path, list[FieldError]], Any]


class _MapKey(str):
    """A path segment that is a key of a map, which paths show in brackets."""


def _format_path(path: _Path) -> str:
    segments: list[str] = []
    while path is not None:
        path, segment = path
        bracketed = isinstance(segment, (int, _MapKey))
        segments.append(f"[{segment}]" if bracketed else f".{segment}")
    return "".join(reversed(segments)).removeprefix(".")


def _refuse(path: _Path, errors: list[FieldError], message: str) -> None:
    errors.append(FieldError(path=_format_path(path), message=message))


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the string "{value}"' if len(value) <= 40 else f'the string "{value[:37]}..."'
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


@cache
def _decoder_of(annotation: Any, lenient: bool = False) -> _Decoder:
    """The decoder of an annotated type; `lenient` reads scalars as proto3's JSON allows."""
    if isinstance(annotation, type) and issubclass(annotation, View):
        return _build_view_decoder(annotation)
    if annotation in _SCALARS:
        return _build_scalar_decoder(annotation)
    if annotation is timedelta:
        return _decode_duration
    if annotation is Any or annotation is object:
        return lambda value, path, errors: value
    if annotation is int:
        return _build_integer_decoder(None, lenient)
    if annotation is float:
        return _build_number_decoder(lenient)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        width = next((mark for mark in arguments[1:] if isinstance(mark, Width)), None)
        return _build_integer_decoder(width, lenient) if width else _decoder_of(arguments[0], lenient)
    if origin is Literal:
        return _build_enum_decoder(arguments, lenient)
    if origin is tuple:
        return _build_list_decoder(_decoder_of(arguments[0], lenient))
    if origin in (Mapping, dict) or annotation is dict:
        return _build_map_decoder(_decoder_of(arguments[1] if arguments else Any, lenient))
    if origin in (Union, types.UnionType):
        return _build_union_decoder(arguments, lenient)
    raise TypeError(f"no decoder for {annotation!r}")


_SCALARS = {str: "a string", bool: "true or false"}


def _build_scalar_decoder(scalar: type) -> _Decoder:
    def decode_scalar(value: Any, path: _Path, errors: list[FieldError]) -> Any:
        if type(value) is not scalar:
            _refuse(path, errors, f"must be {_SCALARS[scalar]}, not {_describe(value)}")
        return value

    return decode_scalar


def _is_integral(value: Any, *, lenient: bool) -> bool:
    """Whether a text or a float says an integer; texts count in proto3's JSON only."""
    if isinstance(value, str):
        return lenient and value.isascii() and value.removeprefix("-").isdecimal() and len(value) <= 20
    return isinstance(value, float) and value.is_integer()


def _build_integer_decoder(width: Width | None, lenient: bool) -> _Decoder:
    def decode_integer(value: Any, path: _Path, errors: list[FieldError]) -> Any:
        number = int(value) if _is_integral(value, lenient=lenient) else value
        if type(number) is not int:
            _refuse(path, errors, f"must be an integer, not {_describe(value)}")
        elif width is not None and not width.minimum <= number <= width.maximum:
            _refuse(path, errors, f"must be between {width.minimum} and {width.maximum}, not {number}")
        return number

    return decode_integer


def _build_number_decoder(lenient: bool) -> _Decoder:
    def decode_number(value: Any, path: _Path, errors: list[FieldError]) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if lenient and isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                pass
        _refuse(path, errors, f"must be a number, not {_describe(value)}")
        return value

    return decode_number


def _decode_duration(value: Any, path: _Path, errors: list[FieldError]) -> Any:
    if not isinstance(value, str):
        _refuse(path, errors, f'must be a duration such as "1.5s", not {_describe(value)}')
        return value
    try:
        return parse_duration(value)
    except DataError:
        _refuse(path, errors, f'must be a duration such as "1.5s", not {_describe(value)}')
        return value


def _build_enum_decoder(names: tuple[str, ...], lenient: bool) -> _Decoder:
    def decode_enum(value: Any, path: _Path, errors: list[FieldError]) -> Any:
        if value in names:
            return value
        if lenient and type(value) is int and 0 <= value < len(names):
            return names[value]
        _refuse(path, errors, f"must be one of {', '.join(names)}, not {_describe(value)}")
        return value

    return decode_enum


def _build_list_decoder(decode_item: _Decoder) -> _Decoder:
    def decode_list(value: Any, path: _Path, errors: list[FieldError]) -> Any:
        if not isinstance(value, (list, tuple)):
            _refuse(path, errors, f"must be a list, not {_describe(value)}")
            return value
        return tuple([decode_item(item, (path, place), errors) for place, item in enumerate(value)])

    return decode_list


def _build_map_decoder(decode_item: _Decoder) -> _Decoder:
    def decode_map(value: Any, path: _Path, errors: list[FieldError]) -> Any:
        if not isinstance(value, Mapping):
            _refuse(path, errors, f"must be an object, not {_describe(value)}")
            return value
        return {key: decode_item(item, (path, _MapKey(key)), errors) for key, item in value.items()}

    return decode_map


def _build_union_decoder(members: tuple[Any, ...], lenient: bool) -> _Decoder:
    present = [member for member in members if member is not type(None)]
    if str in present and int in present:
        return _decode_number_or_string
    (only,) = present
    decode_present = _decoder_of(only, lenient)
    return lambda value, path, errors: None if value is None else decode_present(value, path, errors)


def _decode_number_or_string(value: Any, path: _Path, errors: list[FieldError]) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, types.NoneType)):
        _refuse(path, errors, f"must be a number or a string, not {_describe(value)}")
    return value


class _FieldDecoder(msgspec.Struct, frozen=True):
    attribute: str
    names: tuple[str, ...]
    decode: _Decoder


def _build_field_decoders(view: type[View]) -> tuple[_FieldDecoder, ...]:
    lenient = issubclass(view, ProtoView)
    hints = get_type_hints(view, include_extras=True)
    return tuple(
        _FieldDecoder(
            attribute=attribute,
            names=tuple(dict.fromkeys((name, attribute.rstrip("_")))) if lenient else (name,),
            decode=_decoder_of(hints[attribute], lenient),
        )
        for attribute, name in zip(view.__struct_fields__, view.__struct_encode_fields__, strict=True)
    )


def _one_of_names(view: type[View]) -> list[tuple[str, ...]]:
    names = dict(zip(view.__struct_fields__, view.__struct_encode_fields__, strict=True))
    return [tuple(names[attribute] for attribute in group) for group in view.ONE_OF]


def _build_view_decoder(view: type[View]) -> _Decoder:
    fields = _build_field_decoders(view)
    groups = _one_of_names(view)

    def decode_view(value: Any, path: _Path, errors: list[FieldError]) -> Any:
        if not isinstance(value, Mapping):
            _refuse(path, errors, f"must be an object, not {_describe(value)}")
            return value
        attributes = {}
        for field in fields:
            for name in field.names:
                if (item := value.get(name)) is not None:
                    attributes[field.attribute] = field.decode(item, (path, name), errors)
                    break
        for group in groups:
            present = [name for name in group if value.get(name) is not None]
            if len(present) > 1:
                _refuse(path, errors, f"only one of {', '.join(present)} may be set")
        return view(**attributes)

    return decode_view
