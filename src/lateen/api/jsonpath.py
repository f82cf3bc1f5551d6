"""JSONPath as kubectl and CRD printer columns write it: text -> JsonPath -> the values found in a document.

Understood: `.a.b`, `['a.b']`, `\\.` inside a name, `[0]`, `[-1]`, `[1:3:2]`, `[*]`, `.*`, `..name`, unions
`[0,2]` and `['a','b']`, filters `[?(@.type=="Ready")]` with `== != < <= > >=` or existence, and braces or
`$` around the whole. Missing fields give no value, never an error. Source: the page "JSONPath Support" of
the Kubernetes documentation. `range` templates are kubectl's own business and stay out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lateen.base.errors import DataError

Step = Callable[[Any], Iterator[Any]]

_NAME = re.compile(r"(?:\\.|[^\s.\[\]{}'\"(),\\=<>!?])+")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(\d+))?")
_FILTER = re.compile(r"(?P<left>.+?)\s*(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path; each step turns one value into those it leads to."""

    text: str
    steps: tuple[Step, ...]

    def find(self, document: Any) -> list[Any]:
        """Every value the path leads to, in document order; empty when it leads nowhere."""
        values = [document]
        for step in self.steps:
            values = [found for value in values for found in step(value)]
        return values

    def first(self, document: Any) -> Any:
        """The first value, None when there is none."""
        return next(iter(self.find(document)), None)


def format_value(value: Any) -> str:
    """How kubectl prints one found value: text as it is, everything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=512)
def parse_jsonpath(text: str) -> JsonPath:
    """The path that the text means; DataError says what cannot be read."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    return JsonPath(text, tuple(_parse_steps(text, inner.removeprefix("$").removeprefix("@"))))


def _parse_steps(text: str, rest: str) -> Iterator[Step]:
    while rest:
        if rest.startswith("["):
            end = _closing(text, rest)
            yield _bracket(text, rest[1:end].strip())
            rest = rest[end + 1 :]
            continue
        if rest.startswith(".."):
            yield _descend
            rest = rest[2:]
        elif rest.startswith("."):
            rest = rest[1:]
        if rest.startswith("[") or not rest:
            continue
        if rest.startswith("*"):
            yield _children
            rest = rest[1:]
            continue
        found = _NAME.match(rest)
        if found is None:
            raise DataError(f"Not a JSONPath: {text!r}: unexpected {rest[0]!r}")
        yield _field(re.sub(r"\\(.)", r"\1", found.group()))
        rest = rest[found.end() :]


def _closing(text: str, rest: str) -> int:
    """Where the bracket that `rest` begins with ends; quotes hide brackets, brackets nest."""
    depth, quote = 0, ""
    for position, character in enumerate(rest):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                return position
    raise DataError(f"Not a JSONPath: {text!r}: unterminated array")


def _bracket(text: str, inner: str) -> Step:
    if inner.startswith("?(") and inner.endswith(")"):
        return _filter(text, inner[2:-1].strip())
    if inner == "*":
        return _children
    if found := _SLICE.fullmatch(inner):
        start, stop, step = (None if part is None else int(part) for part in found.groups())
        return _slice(slice(start, stop, step))
    steps = [_element(text, part.strip()) for part in re.findall(r"'[^']*'|\"[^\"]*\"|[^,]+", inner)]
    if not steps:
        raise DataError(f"Not a JSONPath: {text!r}: empty brackets")
    return steps[0] if len(steps) == 1 else _union(steps)


def _element(text: str, part: str) -> Step:
    if len(part) >= 2 and part[0] in "'\"" and part[-1] == part[0]:
        return _field(part[1:-1])
    if re.fullmatch(r"-?\d+", part):
        return _index(int(part))
    raise DataError(f"Not a JSONPath: {text!r}: invalid array index {part}")


def _filter(text: str, condition: str) -> Step:
    found = _FILTER.fullmatch(condition)
    if found is None:
        path = _operand(text, condition)
        return lambda value: (item for item in _items(value) if path(item))
    left, right = _operand(text, found["left"]), _operand(text, found["right"])
    operator = found["operator"]
    return lambda value: (item for item in _items(value) if _compares(left(item), operator, right(item)))


def _operand(text: str, part: str) -> Callable[[Any], list[Any]]:
    part = part.strip()
    if part.startswith(("@", "$")):
        return parse_jsonpath(part).find
    if len(part) >= 2 and part[0] in "'\"" and part[-1] == part[0]:
        return lambda _: [part[1:-1]]
    try:
        constant = json.loads(part)
    except ValueError:
        raise DataError(f"Not a JSONPath: {text!r}: {part} is no path and no constant") from None
    return lambda _: [constant]


def _compares(left: list[Any], operator: str, right: list[Any]) -> bool:
    if not left or not right:
        return False
    one, other = left[0], right[0]
    if isinstance(one, bool) is not isinstance(other, bool):
        return operator == "!="
    if operator in {"==", "!="}:
        return (one == other) is (operator == "==")
    if isinstance(one, str) and isinstance(other, str):
        return _ordered((one > other) - (one < other), operator)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return _ordered((one > other) - (one < other), operator)
    return False


def _ordered(difference: int, operator: str) -> bool:
    """Whether the sign of a comparison meets `<`, `>`, `<=` or `>=`."""
    if difference == 0:
        return operator.endswith("=")
    return operator.startswith(">" if difference > 0 else "<")


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and value.get(name) is not None:
            yield value[name]

    return step


def _index(position: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= position < len(value):
            yield value[position]

    return step


def _slice(which: slice) -> Step:
    return lambda value: iter(value[which] if isinstance(value, list) else ())


def _union(steps: list[Step]) -> Step:
    return lambda value: (found for step in steps for found in step(value))


def _items(value: Any) -> Iterator[Any]:
    return iter(value if isinstance(value, list) else ())


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for child in _children(value):
        yield from _descend(child)
