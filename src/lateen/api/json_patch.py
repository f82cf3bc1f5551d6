"""JSON Patch (RFC 6902) over JSON Pointer (RFC 6901): (document, operations) -> document.

The given document is never changed; the result shares what the patch did not touch. As kube-apiserver does,
negative array indices count from the end, at most 10,000 operations are taken, and `test` of null passes
where nothing is.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from lateen.base.errors import DataError

_MISSING: Any = object()
_INDEX = re.compile(r"-?(0|[1-9][0-9]*)")

#: kube-apiserver refuses longer patches with 413.
MAX_OPERATIONS = 10_000


class PatchError(DataError):
    """A patch that cannot be applied; `status` is the HTTP status kube-apiserver answers with."""

    def __init__(self, message: str, *, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def equal_json(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0 but not true, whatever Python says."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal_json(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal_json, left, right))
    return bool(left == right)


def json_patch(document: Any, operations: Any) -> Any:
    """The document after all operations in order; PatchError at the first that does not apply."""
    if not isinstance(operations, list):
        raise PatchError("error decoding patch: a JSON patch is a list of operations", status=400)
    if len(operations) > MAX_OPERATIONS:
        found = len(operations)
        raise PatchError(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {found}", status=413)
    for operation in operations:
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict):
        raise PatchError("error decoding patch: an operation of a JSON patch is an object", status=400)
    name = operation.get("op")
    path = _pointer(operation, "path", name)
    match name:
        case "add":
            return _add(document, path, _value(operation), name)
        case "remove":
            return _remove(document, path, name)
        case "replace":
            _find(document, path, name)
            return _set(document, path, _value(operation), name)
        case "move":
            source = _pointer(operation, "from", name)
            if path[: len(source)] == source and len(path) > len(source):
                raise PatchError(f'move operation does not apply: "{_text(path)}" lies inside what is moved')
            value = _find(document, source, name)
            return _add(_remove(document, source, name), path, value, name)
        case "copy":
            return _add(document, path, copy.deepcopy(_find(document, _pointer(operation, "from", name), name)), name)
        case "test":
            _test(document, path, operation.get("value"))
            return document
        case _:
            raise PatchError(f"Unexpected kind: {name}")


def _pointer(operation: dict[str, Any], member: str, name: Any) -> tuple[str, ...]:
    text = operation.get(member)
    if not isinstance(text, str):
        raise PatchError(f"{name} operation does not apply: failed to decode {member!r}: it must be a string")
    if text == "":
        return ()
    if not text.startswith("/"):
        raise PatchError(f'{name} operation does not apply: doc is missing path: "{text}": missing value')
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError(f'{operation["op"]} operation does not apply: it has no "value"')
    return operation["value"]


def _text(path: Sequence[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _missing(name: str, path: Sequence[str]) -> PatchError:
    return PatchError(f'{name} operation does not apply: doc is missing path: "{_text(path)}": missing value')


def _index(container: list[Any], part: str, *, end: int) -> int | None:
    """The position that a path part names in an array; `end` is the first position that does not exist."""
    if not _INDEX.fullmatch(part):
        return None
    index = int(part)
    if index < 0:
        index += end
    return index if 0 <= index < end else None


def _child(container: Any, part: str) -> Any:
    if isinstance(container, dict):
        return container.get(part, _MISSING)
    if isinstance(container, list):
        index = _index(container, part, end=len(container))
        return _MISSING if index is None else container[index]
    return _MISSING


def _find(document: Any, path: Sequence[str], name: str) -> Any:
    for part in path:
        document = _child(document, part)
        if document is _MISSING:
            raise _missing(name, path)
    return document


def _test(document: Any, path: Sequence[str], expected: Any) -> None:
    try:
        found = _find(document, path, "test")
    except PatchError:
        if expected is None:
            return
        raise PatchError(f"testing value {_text(path)} failed: test failed") from None
    if not equal_json(found, expected):
        raise PatchError(f"testing value {_text(path)} failed: test failed")


def _set(document: Any, path: Sequence[str], value: Any, name: str) -> Any:
    """The document with the value at a path whose parent exists; a copy along the path, shared elsewhere."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    old = _child(document, part)
    if rest and old is _MISSING:
        raise _missing(name, path)
    new = _set(old, rest, value, name)
    if isinstance(document, dict):
        return {**document, part: new}
    index = _index(document, part, end=len(document)) if isinstance(document, list) else None
    if index is None:
        raise _missing(name, path)
    return [*document[:index], new, *document[index + 1 :]]


def _add(document: Any, path: Sequence[str], value: Any, name: str) -> Any:
    if not path:
        return value
    parent = _find(document, path[:-1], name)
    part = path[-1]
    if isinstance(parent, dict):
        return _set(document, path, value, name)
    if not isinstance(parent, list):
        raise _missing(name, path)
    index = len(parent) if part == "-" else _index(parent, part, end=len(parent) + 1)
    if index is None:
        raise PatchError(f"error in {name} for path: '{_text(path)}': {part}: invalid index referenced")
    return _set(document, path[:-1], [*parent[:index], value, *parent[index:]], name)


def _remove(document: Any, path: Sequence[str], name: str) -> Any:
    if not path:
        raise PatchError(f"{name} operation does not apply: the whole document cannot be removed")
    _find(document, path, name)
    parent = _find(document, path[:-1], name)
    part = path[-1]
    if isinstance(parent, dict):
        rest: Any = {key: value for key, value in parent.items() if key != part}
    else:
        index = _index(parent, part, end=len(parent))
        rest = [value for position, value in enumerate(parent) if position != index]
    return _set(document, path[:-1], rest, name)
