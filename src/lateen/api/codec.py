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
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from lateen.api.decoders import (
    SCALARS,
    Decoder,
    FieldError,
    MapKey,
    Path,
    build_enum_decoder,
    build_integer_decoder,
    build_number_decoder,
    build_scalar_decoder,
    decode_duration,
    decode_number_or_string,
    describe,
    refuse,
)
from lateen.api.view import ProtoView, View

V = TypeVar("V", bound=View)


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


@cache
def _decoder_of(annotation: Any, lenient: bool = False) -> Decoder:
    """The decoder of an annotated type; `lenient` reads scalars as proto3's JSON allows."""
    if isinstance(annotation, type) and issubclass(annotation, View):
        return _build_view_decoder(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        width = next((mark for mark in arguments[1:] if isinstance(mark, msgspec.Meta)), None)
        if arguments[0] is int and width is not None:
            return build_integer_decoder(width, lenient=lenient)
        return _decoder_of(arguments[0], lenient)
    if origin is Literal:
        return build_enum_decoder(arguments, lenient=lenient)
    if origin is tuple:
        return _build_list_decoder(_decoder_of(arguments[0], lenient))
    if origin is Mapping:
        return _build_map_decoder(_decoder_of(arguments[1], lenient))
    if origin in (Union, types.UnionType):
        return _build_union_decoder(arguments, lenient=lenient)
    return _plain_decoder_of(annotation, lenient=lenient)


def _plain_decoder_of(annotation: Any, *, lenient: bool) -> Decoder:
    if annotation in SCALARS:
        return build_scalar_decoder(annotation)
    if annotation is timedelta:
        return decode_duration
    if annotation is Any:
        return lambda value, path, errors: value
    if annotation is int:
        return build_integer_decoder(None, lenient=lenient)
    if annotation is float:
        return build_number_decoder(lenient=lenient)
    raise TypeError(f"no decoder for {annotation!r}")


def _build_list_decoder(decode_item: Decoder) -> Decoder:
    def decode_list(value: Any, path: Path, errors: list[FieldError]) -> Any:
        if not isinstance(value, (list, tuple)):
            refuse(path, errors, f"must be a list, not {describe(value)}")
            return value
        return tuple([decode_item(item, (path, place), errors) for place, item in enumerate(value)])

    return decode_list


def _build_map_decoder(decode_item: Decoder) -> Decoder:
    def decode_map(value: Any, path: Path, errors: list[FieldError]) -> Any:
        if not isinstance(value, Mapping):
            refuse(path, errors, f"must be an object, not {describe(value)}")
            return value
        return {key: decode_item(item, (path, MapKey(key)), errors) for key, item in value.items()}

    return decode_map


def _build_union_decoder(members: tuple[Any, ...], *, lenient: bool) -> Decoder:
    present = [member for member in members if member is not type(None)]
    if str in present and int in present:
        return decode_number_or_string
    (only,) = present
    decode_present = _decoder_of(only, lenient)
    return lambda value, path, errors: None if value is None else decode_present(value, path, errors)


class _FieldDecoder(msgspec.Struct, frozen=True):
    attribute: str
    names: tuple[str, ...]
    decode: Decoder


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


def _build_view_decoder(view: type[View]) -> Decoder:
    fields = _build_field_decoders(view)
    groups = _one_of_names(view)

    def decode_view(value: Any, path: Path, errors: list[FieldError]) -> Any:
        if not isinstance(value, Mapping):
            refuse(path, errors, f"must be an object, not {describe(value)}")
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
                refuse(path, errors, f"only one of {', '.join(present)} may be set")
        return view(**attributes)

    return decode_view
