"""Loads files of Kubernetes objects, YAML or JSON, keeping for each field the line that it stands in.

Flow: text -> chunks between `---` lines -> composer -> `Document`s and `Diagnostic`s. A chunk that cannot
be read spoils no other, so that one run reports the mistakes of the whole file; a document with a mistake
is left out. `kind: List` and other lists become the objects they hold.

Source: kubectl's reading of `-f` files (apimachinery's YAMLOrJSONDecoder, sigs.k8s.io/yaml).
Where we differ from kubectl: a duplicate key is refused instead of silently overwritten; depth, size and
aliases are bounded.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from lateen.api.decoders import FieldError
from lateen.api.objects import JsonObject, name_of, ref_of
from lateen.api.yaml_composer import Composer, Mistake, Place
from lateen.base.catalogue import build_diagnostic
from lateen.base.diagnostics import Diagnostic

MAX_BYTES = 32 * 1024 * 1024

_SEPARATOR_RE = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_DIRECTIVES_RE = re.compile(r"(?:[%#][^\n]*\n|\s)*")
_SEGMENT_RE = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_SURROGATES_RE = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")


class Document(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One object of a file; `object` is plain JSON data that belongs to the reader."""

    object: JsonObject
    source: str
    place: Place

    @property
    def line(self) -> int:
        """The line that the document starts in."""
        return self.place.line

    def line_of(self, path: str) -> int:
        """The line of a field such as `spec.http[0].route`; for a missing one that of the nearest part around it."""
        place = self.place
        for match in _SEGMENT_RE.finditer(path):
            part = _find_part(place, match[2] if match[1] is None else match[1])
            if part is None:
                break
            place = part
        return place.line

    def diagnose(self, errors: Iterable[FieldError]) -> tuple[Diagnostic, ...]:
        """Errors of decoding as diagnostics with file and line."""
        return tuple(
            build_diagnostic(
                "LTN0007",
                subject=str(ref_of(self.object)),
                path=error.path,
                file=self.source,
                line=self.line_of(error.path),
                error=error.message,
            )
            for error in errors
        )


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a text holds: documents in order, and everything that is wrong with the rest."""

    documents: tuple[Document, ...]
    diagnostics: tuple[Diagnostic, ...]


def load(text: str | bytes, source: str) -> Loaded:
    """The Kubernetes objects of a text; `source` is the file name that diagnostics show."""
    return _collect(text, source, _find_objects)


def load_plain(text: str | bytes, source: str) -> Loaded:
    """The objects of a text that need no kind, such as a mesh configuration."""
    return _collect(text, source, _find_plain)


def _collect(text: str | bytes, source: str, find: Any) -> Loaded:
    documents: list[Document] = []
    mistakes: list[Mistake] = []
    try:
        for chunk, first_line in _split(_decode_text(text)):
            composer = Composer(first_line)
            try:
                composed = list(composer.compose(chunk))
            except Mistake as mistake:
                mistakes += [*composer.mistakes, mistake]
                continue
            mistakes += composer.mistakes
            if not composer.mistakes:
                for value, place in composed:
                    documents += find(value, place, source, mistakes)
    except Mistake as mistake:
        mistakes.append(mistake)
    return Loaded(documents=tuple(documents), diagnostics=tuple(m.diagnose(source) for m in mistakes))


def _decode_text(text: str | bytes) -> str:
    if len(text) > MAX_BYTES:
        raise Mistake("LTN0003", 1, error=f"larger than {MAX_BYTES // 2**20} MiB")
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + text.count(b"\n", 0, error.start)
        raise Mistake("LTN0001", line, error="the text is not UTF-8") from error


def _split(text: str) -> Iterator[tuple[str, int]]:
    """The parts of a text that are read on their own, each with the number of its first line."""
    if text.lstrip().startswith("{") and (parts := _split_json(text)):
        yield from parts
        return
    start = 0
    for match in _SEPARATOR_RE.finditer(text):
        part = text[start : match.start()]
        if part and not _DIRECTIVES_RE.fullmatch(part):
            yield part, 1 + text.count("\n", 0, start)
            start = match.start()
    yield text[start:], 1 + text.count("\n", 0, start)


def _split_json(text: str) -> list[tuple[str, int]]:
    """The objects of a stream of JSON, with surrogate pairs joined as YAML demands; empty when it is not JSON."""
    decoder = json.JSONDecoder()
    parts = []
    position = len(text) - len(text.lstrip())
    while position < len(text):
        try:
            _, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return []
        part = _SURROGATES_RE.sub(lambda found: found[1] + json.loads(f'"{found[2]}"'), text[position:end])
        parts.append((part, 1 + text.count("\n", 0, position)))
        position = end + len(text[end:]) - len(text[end:].lstrip())
    return parts


def _find_plain(value: Any, place: Place, source: str, mistakes: list[Mistake]) -> list[Document]:
    if value is None:
        return []
    if not isinstance(value, dict):
        mistakes.append(Mistake("LTN0004", place.line, error=f"it is {_describe(value)}, not an object"))
        return []
    return [Document(object=value, source=source, place=place)]


def _find_objects(value: Any, place: Place, source: str, mistakes: list[Mistake]) -> list[Document]:
    documents = _find_plain(value, place, source, mistakes)
    found: list[Document] = []
    for document in documents:
        missing = [name for name in ("apiVersion", "kind") if not isinstance(document.object.get(name), str)]
        if missing:
            words = " and ".join(missing)
            mistakes.append(Mistake("LTN0004", place.line, error=f"{words} must be given as text"))
        elif _is_list(document.object):
            found += _find_items(document, mistakes)
        else:
            found.append(document)
    return found


def _is_list(value: JsonObject) -> bool:
    return value["kind"].endswith("List") and isinstance(value.get("items"), list) and not name_of(value)


def _find_items(document: Document, mistakes: list[Mistake]) -> list[Document]:
    """The items of a list; those of a typed list such as ServiceList may leave out their kind."""
    item_kind = document.object["kind"].removesuffix("List")
    items = _find_part(document.place, "items")
    places = items.parts if items is not None and isinstance(items.parts, list) else []
    found = []
    for item, place in zip(document.object["items"], places, strict=True):
        if isinstance(item, dict) and item_kind:
            item = {"apiVersion": document.object["apiVersion"], "kind": item_kind, **item}
        found += _find_objects(item, place, document.source, mistakes)
    return found


def _find_part(place: Place, segment: str) -> Place | None:
    if isinstance(place.parts, dict):
        return place.parts.get(segment)
    if isinstance(place.parts, list) and segment.isdecimal() and int(segment) < len(place.parts):
        return place.parts[int(segment)]
    return None


def _describe(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the value {json.dumps(value)}"
