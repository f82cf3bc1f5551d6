"""Labels and selectors: text -> Selector -> does it match these labels?

Both forms of Kubernetes: equality (`app=web,tier!=db`) and sets (`app in (a,b), !canary`). Source: the page
"Labels and Selectors" of the Kubernetes documentation. `!=` and `notin` also match objects without the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from lateen.base.errors import DataError


class Operator(Enum):
    """How a requirement compares; the values are those of `matchExpressions`, plus the two of field order."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one key; `values` is empty for the two existence operators."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the condition."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.GREATER | Operator.LESS:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator is Operator.GREATER else left < right


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all hold; none of them matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet every condition."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every pair of a `matchLabels` map stands in the labels; an empty map matches everything."""
    return all(labels.get(key) == value for key, value in selector.items())


_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}"
_KEY_RE = re.compile(_KEY)
_VALUE_RE = re.compile(rf"(?:{_NAME})?")
_TOKEN_RE = re.compile(r"\s*(==|=|!=|!|,|\(|\)|>|<|[^\s=!,()<>]+)\s*")


def parse_selector(text: str) -> Selector:
    """The selector that the text means; blank text matches everything. DataError when the text is no selector."""
    tokens: list[str] = []
    position = 0
    stripped = text.strip()
    while position < len(stripped):
        found = _TOKEN_RE.match(stripped, position)
        if found is None:
            raise _refuse(text, f"unexpected {stripped[position]!r}")
        tokens.append(found.group(1))
        position = found.end()
    reader = _Reader(text, tokens)
    requirements: list[Requirement] = []
    while reader.more():
        requirements.append(reader.requirement())
        if reader.more():
            reader.expect(",")
            if not reader.more():
                raise _refuse(text, "a comma at the end")
    return Selector(tuple(requirements))


class _Reader:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self._text = text
        self._tokens = tokens
        self._next = 0

    def more(self) -> bool:
        return self._next < len(self._tokens)

    def peek(self) -> str:
        return self._tokens[self._next] if self.more() else ""

    def take(self) -> str:
        token = self.peek()
        self._next += 1
        return token

    def expect(self, token: str) -> None:
        if (found := self.take()) != token:
            raise _refuse(self._text, f"expected {token!r}, found {found!r}")

    def key(self) -> str:
        key = self.take()
        if not _KEY_RE.fullmatch(key):
            raise _refuse(self._text, f"{key!r} is no label key")
        return key

    def value(self) -> str:
        if self.peek() in {"", ",", ")"}:
            return ""
        value = self.take()
        if not _VALUE_RE.fullmatch(value):
            raise _refuse(self._text, f"{value!r} is no label value")
        return value

    def values(self) -> frozenset[str]:
        self.expect("(")
        found = [self.value()]
        while self.peek() == ",":
            self.take()
            found.append(self.value())
        self.expect(")")
        return frozenset(found)

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(self.key(), Operator.DOES_NOT_EXIST)
        key = self.key()
        match self.peek():
            case "=" | "==":
                self.take()
                return Requirement(key, Operator.IN, frozenset({self.value()}))
            case "!=":
                self.take()
                return Requirement(key, Operator.NOT_IN, frozenset({self.value()}))
            case "in":
                self.take()
                return Requirement(key, Operator.IN, self.values())
            case "notin":
                self.take()
                return Requirement(key, Operator.NOT_IN, self.values())
            case ">" | "<" as sign:
                self.take()
                bound = self.value()
                if not re.fullmatch(r"-?[0-9]+", bound):
                    raise _refuse(self._text, f"{bound!r} is no integer")
                return Requirement(key, Operator.GREATER if sign == ">" else Operator.LESS, frozenset({bound}))
            case "" | ",":
                return Requirement(key, Operator.EXISTS)
            case other:
                raise _refuse(self._text, f"unexpected {other!r} after {key!r}")


def _refuse(text: str, reason: str) -> DataError:
    return DataError(f"Not a label selector: {text!r}: {reason}")
