"""Does a custom resource keep to its schema? (JSON value, Schema) -> FieldErrors in the words of
kube-apiserver.

Composed schemas (`anyOf`, `oneOf`, `allOf`, `not`) report themselves and the errors of the branch that came
nearest, as Kubernetes does: their own error has the path `<nil>`. The order of errors follows the schema,
not the document.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lateen.api.json_patch import equal_json
from lateen.api.schema.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)
from lateen.api.schema.model import Schema

_NO_PATH = "<nil>"


class _Result:
    """Errors of one value and how many checks it passed, which tells the nearest of several branches."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.passed = 0

    def merge(self, other: _Result) -> None:
        self.errors += other.errors
        self.passed += other.passed


def validate_structural(document: dict[str, Any], schema: Schema) -> list[FieldError]:
    """Every way in which the document breaks its schema; empty when it keeps to it."""
    errors = _check(document, schema, "").errors
    if not errors:
        errors = list(_find_duplicates(document, schema, ""))
    return list(dict.fromkeys(errors))


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _check(value: Any, schema: Schema, path: str) -> _Result:
    result = _Result()
    allowed = ("integer", "string") if schema.int_or_string else (schema.type,) if schema.type else ()
    found = _type_of(value)
    if _fits(value, found, allowed, schema):
        result.passed += 1
    else:
        detail = f'{path} in body must be of type {",".join(allowed)}: "{found}"'
        result.errors.append(type_invalid(path, found, detail))
    if value is None:
        return result
    _check_composed(value, schema, path, result)
    match value:
        case str():
            result.errors += _check_string(value, schema, path)
        case bool():
            pass
        case int() | float():
            result.errors += _check_number(value, schema, path)
        case list():
            _check_list(value, schema, path, result)
    if schema.enum is not None and not any(equal_json(value, one) for one in schema.enum):
        result.errors.append(not_supported(path, value, schema.enum))
    if isinstance(value, dict):
        _check_object(value, schema, path, result)
    return result


def _fits(value: Any, found: str, allowed: tuple[str, ...], schema: Schema) -> bool:
    if found == "null":
        return not allowed or schema.nullable
    if not allowed or found in allowed:
        return True
    if found == "integer":
        return "number" in allowed
    return found == "number" and "integer" in allowed and float(value).is_integer()


def _check_composed(value: Any, schema: Schema, path: str, result: _Result) -> None:
    if schema.any_of:
        branches = [_check(value, branch, path) for branch in schema.any_of]
        if not any(not branch.errors for branch in branches):
            text = f'"{path}" must validate at least one schema (anyOf)'
            result.errors.append(invalid(_NO_PATH, "", text))
            result.merge(max(branches, key=lambda branch: branch.passed))
    if schema.one_of:
        branches = [_check(value, branch, path) for branch in schema.one_of]
        valid = sum(not branch.errors for branch in branches)
        if valid != 1:
            found = "Found none valid" if valid == 0 else f"Found {valid} valid alternatives"
            text = f'"{path}" must validate one and only one schema (oneOf). {found}'
            result.errors.append(invalid(_NO_PATH, "", text))
            if valid == 0:
                result.merge(max(branches, key=lambda branch: branch.passed))
    if schema.all_of:
        branches = [_check(value, branch, path) for branch in schema.all_of]
        for branch in branches:
            result.merge(branch)
        if any(branch.errors for branch in branches):
            none = ". None validated" if all(branch.errors for branch in branches) else ""
            result.errors.append(invalid(_NO_PATH, "", f'"{path}" must validate all the schemas (allOf){none}'))
    if schema.negated is not None and not _check(value, schema.negated, path).errors:
        result.errors.append(invalid(_NO_PATH, "", f'"{path}" must not validate the schema (not)'))


def _check_string(value: str, schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.max_length is not None and len(value) > schema.max_length:
        yield too_long(path, schema.max_length)
    if schema.min_length is not None and len(value) < schema.min_length:
        yield invalid(path, value, f"{path} in body should be at least {schema.min_length} chars long")
    if schema.pattern is not None and not _pattern(schema.pattern).search(value):
        yield invalid(path, value, f"{path} in body should match '{schema.pattern}'")
    if schema.format is not None and not _has_format(value, schema.format):
        yield type_invalid(path, value, f'{path} in body must be of type {schema.format}: "{value}"')


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    """Go's syntax is nearly Python's; `\\z` and a `$` that does not match before a final newline differ."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", text).replace(r"\z", r"\Z"))


def _has_format(value: str, form: str) -> bool:
    try:
        match form:
            case "ipv4":
                ipaddress.IPv4Address(value)
            case "ipv6":
                ipaddress.IPv6Address(value)
            case "cidr":
                ipaddress.ip_network(value, strict=False)
            case "date-time":
                return re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", value) is not None
            case "date":
                return re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None
    except ValueError:
        return False
    return True


def _check_number(value: float, schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.multiple_of is not None and value % schema.multiple_of:
        yield invalid(path, value, f"{path} in body should be a multiple of {schema.multiple_of:g}")
    least, most = schema.minimum, schema.maximum
    if most is not None and (value >= most if schema.exclusive_maximum else value > most):
        relation = "less than" if schema.exclusive_maximum else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {relation} {most:g}")
    if least is not None and (value <= least if schema.exclusive_minimum else value < least):
        relation = "greater than" if schema.exclusive_minimum else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {relation} {least:g}")


def _check_list(value: list[Any], schema: Schema, path: str, result: _Result) -> None:
    if schema.items is not None:
        for place, item in enumerate(value):
            result.merge(_check(item, schema.items, f"{path}[{place}]"))
    size = len(value)
    if schema.min_items is not None and size < schema.min_items:
        text = f"{path} in body should have at least {schema.min_items} items"
        result.errors.append(invalid(path, size, text))
    if schema.max_items is not None and size > schema.max_items:
        result.errors.append(too_many(path, size, schema.max_items))
    if schema.unique_items and any(_contains(value[:place], item) for place, item in enumerate(value)):
        result.errors.append(invalid(path, "", f"{path} in body shouldn't contain duplicates"))


def _contains(values: list[Any], item: Any) -> bool:
    return any(equal_json(value, item) for value in values)


def _check_object(value: dict[str, Any], schema: Schema, path: str, result: _Result) -> None:
    size = len(value)
    if schema.min_properties is not None and size < schema.min_properties:
        text = f"{path} in body should have at least {schema.min_properties} properties"
        result.errors.append(invalid(path, size, text))
    if schema.max_properties is not None and size > schema.max_properties:
        result.errors.append(too_many(path, size, schema.max_properties))
    for key, item in value.items():
        if key in schema.properties:
            continue
        if schema.value_schema is not None:
            result.merge(_check(item, schema.value_schema, f"{path}.{key}" if path else key))
        elif schema.additional_properties is False:
            result.errors.append(invalid(path, "", f"{path}.{key} in body is a forbidden property"))
    for key, child in schema.properties.items():
        if key in value:
            result.merge(_check(value[key], child, f"{path}.{key}" if path else key))
    for key in schema.required:
        if key not in value:
            result.errors.append(required(f"{path}.{key}" if path else key))


def _find_duplicates(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    """The repeated elements of every list that must be a set or a map."""
    if isinstance(value, dict):
        for key, item in value.items():
            child = schema.properties.get(key) or schema.value_schema
            if child is not None:
                yield from _find_duplicates(item, child, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        if schema.list_type in {"set", "map"}:
            yield from _duplicates(value, schema, path)
        if schema.items is not None:
            for place, item in enumerate(value):
                yield from _find_duplicates(item, schema.items, f"{path}[{place}]")


def _duplicates(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    seen: list[Any] = []
    for place, item in enumerate(value):
        identity = item
        if schema.list_type == "map":
            if not isinstance(item, dict):
                continue
            identity = {key: item[key] for key in schema.list_map_keys if key in item}
        if _contains(seen, identity):
            yield duplicate(f"{path}[{place}]", identity)
        seen.append(identity)
