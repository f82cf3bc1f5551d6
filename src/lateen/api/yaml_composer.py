"""Composes parser events into JSON values, and remembers in which line each of them stands.

Flow: YAML text -> events of libyaml -> (value, place). One pass with its own stack: depth, size and
aliases are counted while composing, so that hostile input costs no more than the limits, and nothing
recurses.

Invariants: an alias yields a copy, so that no two parts of a document share an object. Every duplicate
key is reported, with both lines. Merge keys take effect in order, as kubectl has it: a merge after a key
overwrites it.
Source: YAML 1.1; go-yaml v2 as kubectl uses it, for keys, merges and anchors.
"""

import copy
from collections.abc import Iterator
from typing import Any

import yaml

from lateen.api.yaml_scalars import build_json_value, format_key, resolve_scalar
from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic
from lateen.base.errors import DataError

MAX_DEPTH = 200
MAX_VALUES = 1_000_000
MAX_ALIASED_VALUES = 50_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = object()


class Place:
    """Where a value starts, and where its parts do; lines count from 1, keys and items have the line of their start."""

    __slots__ = ("line", "parts", "size")

    def __init__(self, line: int, parts: "dict[str, Place] | list[Place] | None" = None) -> None:
        self.line = line
        self.parts = parts
        self.size = 1


class Mistake(Exception):
    """Why a document cannot be composed: a catalogue code, a line and its words; ends as a diagnostic."""

    def __init__(self, code: str, line: int, **words: object) -> None:
        super().__init__(code)
        self.code = code
        self.line = line
        self.words = words

    def diagnose(self, source: str) -> Diagnostic:
        """The mistake as a diagnostic for the file `source`."""
        words: dict[str, Any] = self.words
        return build_diagnostic(self.code, subject=source, file=source, line=self.line, **words)


class _Frame:
    """A collection under construction; in a mapping `key` waits for its value."""

    __slots__ = ("anchor", "key", "key_line", "key_lines", "place", "value")

    def __init__(self, value: Any, place: Place, anchor: str | None) -> None:
        self.value = value
        self.place = place
        self.anchor = anchor
        self.key: Any = None
        self.key_line = 0
        self.key_lines: dict[str, int] = {}


class Composer:
    """Composes the documents of one text; `mistakes` collects what does not stop composing: duplicate keys."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, Place] | None] = {}
        self._values = 0
        self._aliased_values = 0
        self._root: tuple[Any, Place] | None = None
        self.mistakes: list[Mistake] = []

    def compose(self, text: str) -> Iterator[tuple[Any, Place]]:
        """Every document of the text; raises `Mistake` at the first that cannot be composed."""
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors, self._values, self._aliased_values, self._root = {}, 0, 0, None
                elif isinstance(event, yaml.DocumentEndEvent):
                    if self._root is not None:
                        yield self._root
                elif isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
                    self._take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = self._first_line + (mark.line if mark else 0)
            raise Mistake("LTN0001", line, error=_explain(error)) from error
        except yaml.reader.ReaderError as error:
            line = self._first_line + text.count("\n", 0, error.position)
            code = error.character if isinstance(error.character, int) else ord(error.character)
            raise Mistake("LTN0001", line, error=f"the character U+{code:04X} is not allowed") from error

    def _take(self, event: Any) -> None:
        line = self._first_line + event.start_mark.line
        match event:
            case yaml.ScalarEvent():
                value = self._resolve(event, line)
                place = Place(line)
                self._remember(event.anchor, value, place)
                self._put(value, place)
            case yaml.AliasEvent():
                self._put(*self._copy_anchor(event.anchor or "", line))
            case yaml.CollectionEndEvent():
                frame = self._stack.pop()
                self._remember(frame.anchor, frame.value, frame.place)
                self._put(frame.value, frame.place)
            case yaml.SequenceStartEvent():
                self._open(_Frame([], Place(line, []), event.anchor), line)
            case yaml.MappingStartEvent():
                self._open(_Frame({}, Place(line, {}), event.anchor), line)

    def _open(self, frame: _Frame, line: int) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise Mistake("LTN0003", line, error=f"nested deeper than {MAX_DEPTH} levels")
        if frame.anchor:
            self._anchors[frame.anchor] = None
        self._stack.append(frame)

    def _remember(self, anchor: str | None, value: Any, place: Place) -> None:
        if anchor:
            self._anchors[anchor] = (value, place)

    def _copy_anchor(self, anchor: str, line: int) -> tuple[Any, Place]:
        if anchor not in self._anchors:
            raise Mistake("LTN0001", line, error=f"the alias *{anchor} has no anchor before it")
        anchored = self._anchors[anchor]
        if anchored is None:
            raise Mistake("LTN0001", line, error=f"the anchor &{anchor} contains itself")
        value, place = anchored
        self._aliased_values += place.size
        if self._aliased_values > MAX_ALIASED_VALUES:
            raise Mistake("LTN0003", line, error=f"aliases stand for more than {MAX_ALIASED_VALUES} values")
        return copy.deepcopy(value), place

    def _resolve(self, event: Any, line: int) -> Any:
        """The JSON value of a scalar, or the text of a key."""
        try:
            value = resolve_scalar(event.tag, event.value, plain=event.style in (None, ""))
            if self._expects_key():
                if event.value == "<<" and not event.tag and event.style in (None, ""):
                    return _MERGE
                return format_key(value)
            return build_json_value(value)
        except DataError as error:
            raise Mistake("LTN0001", line, error=error.message) from error

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _put(self, value: Any, place: Place) -> None:
        """Give a finished value to the collection that is open, or make it the document."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise Mistake("LTN0003", place.line, error=f"more than {MAX_VALUES} values in one document")
        if not self._stack:
            self._root = (value, place)
            return
        frame = self._stack[-1]
        frame.place.size += place.size
        if isinstance(frame.value, list):
            frame.value.append(value)
            frame.place.parts.append(place)  # type: ignore[union-attr]
        elif frame.key is None:
            self._put_key(frame, value, place.line)
        else:
            self._put_pair(frame, value, place)

    def _put_key(self, frame: _Frame, key: Any, line: int) -> None:
        if isinstance(key, (dict, list)):
            raise Mistake("LTN0001", line, error="a key must be a plain text, not a list or an object")
        if key is not _MERGE and not isinstance(key, str):
            key = format_key(key)
        frame.key, frame.key_line = key, line

    def _put_pair(self, frame: _Frame, value: Any, place: Place) -> None:
        key, line = frame.key, frame.key_line
        frame.key = None
        if key is _MERGE:
            self._merge(frame, value, place)
            return
        if key in frame.key_lines:
            self.mistakes.append(Mistake("LTN0002", line, key=key, first=frame.key_lines[key], second=line))
        frame.key_lines[key] = line
        frame.value[key] = value
        self._set_part(frame, key, place, line)

    def _merge(self, frame: _Frame, value: Any, place: Place) -> None:
        merged = list(zip(value, place.parts or (), strict=False)) if isinstance(value, list) else [(value, place)]
        if not all(isinstance(item, dict) for item, _ in merged):
            raise Mistake("LTN0001", frame.key_line, error="<< takes an object or a list of objects")
        for item, item_place in reversed(merged):
            for key, part in item.items():
                frame.value[key] = part
                self._set_part(frame, key, item_place.parts[key], item_place.parts[key].line)

    def _set_part(self, frame: _Frame, key: str, place: Place, line: int) -> None:
        part = Place(line, place.parts)
        part.size = place.size
        frame.place.parts[key] = part  # type: ignore[index, call-overload]


def _explain(error: yaml.MarkedYAMLError) -> str:
    """What libyaml says, on one line."""
    words = [part for part in (error.context, error.problem) if part]
    return ", ".join(" ".join(word.split()) for word in words)
