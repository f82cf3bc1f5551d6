"""`lateen apply -f`: create or change objects from YAML, as kubectl's client-side apply does.

Files -> documents with line marks -> one request per object, in order. A document that is wrong is reported
with file and line and does not keep the others out; the exit code is 65 when any was refused.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from lateen.api.schema.decoding import json_type
from lateen.api.schema.definitions import find_schema
from lateen.api.three_way import build_apply_patch, find_last_applied, with_last_applied
from lateen.api.yaml_loader import Document, load
from lateen.base.diagnostics import Diagnostic, Level
from lateen.base.errors import DataError, LateenError, NotFoundError, UsageError
from lateen.cli.session import Session, UnknownKindError, at_version, format_kind, namespace_options, run_session
from lateen.kube.client import PatchType
from lateen.kube.errors import ApiError, ApiInvalidError, ApiUnavailableError

_SUFFIXES = (".yaml", ".yml", ".json")
# Go's decoder names the field without indices: `cannot unmarshal string into Go struct field Port.spec.ports.port ...`
_WRONG_TYPE = re.compile(r"cannot unmarshal (?P<found>\w+).* into Go struct field \w+\.(?P<field>\S+) of type")
_UNKNOWN_FIELD = re.compile(r'unknown field "([^"]+)"')


def load_files(names: Sequence[str]) -> list[tuple[str, Document]]:
    """Documents of files, directories or `-`, in order, each with the name of its source.

    Raises DataError with every mistake when a file is no YAML or lacks what an object must have.
    """
    loaded: list[tuple[str, Document]] = []
    diagnostics: list[Diagnostic] = []
    for source, text in _read(names):
        result = load(text, source)
        diagnostics += [one for one in result.diagnostics if one.level is Level.ERROR]
        loaded += [(source, document) for document in result.documents]
    if diagnostics:
        raise DataError("the files cannot be read", diagnostics=diagnostics)
    return loaded


def _read(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name == "-":
            yield "<stdin>", sys.stdin.read()
            continue
        path = Path(name)
        files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES) if path.is_dir() else [path]
        for file in files:
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except FileNotFoundError:
                raise NotFoundError(f"there is no file {file}") from None
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"cannot read {file}: {error}") from error


@click.command()
@click.option("-f", "--filename", "files", multiple=True, required=True, help="File, directory or -.")
@namespace_options
def apply(*, files: tuple[str, ...], namespace: str | None, kubeconfig: Path | None) -> None:
    """Create objects, or change them to what the files say."""
    documents = load_files(files)
    if not documents:
        raise UsageError(f"{', '.join(files)}: no object in there")

    async def work(session: Session) -> list[DataError]:
        refused = []
        for source, document in documents:
            try:
                await _apply(session, document, source, namespace or session.namespace)
            except (DataError, ApiError) as error:
                if isinstance(error, ApiUnavailableError):
                    raise
                refused.append(_with_lines(error, document, source))
        return refused

    if refused := run_session(kubeconfig, work):
        diagnostics = [one for error in refused for one in error.diagnostics]
        raise DataError(f"{len(refused)} of {len(documents)} objects refused", diagnostics=diagnostics)


async def _apply(session: Session, document: Document, source: str, namespace: str) -> None:
    wanted = document.object
    kind = at_version(await session.find_document(wanted), wanted)
    metadata = wanted.get("metadata") or {}
    name = metadata.get("name")
    if not isinstance(name, str):
        raise DataError("metadata.name: Required value")
    place = str(metadata.get("namespace") or namespace) if kind.namespaced else ""
    if kind.namespaced:
        wanted = {**wanted, "metadata": {**metadata, "namespace": place}}
    wanted = with_last_applied(wanted)
    client, params = session.client, {"fieldValidation": "Strict"}
    try:
        live = await client.get(kind, place, name)
    except NotFoundError:
        await client.create(kind, wanted, namespace=place, params=params)
        click.echo(f"{format_kind(kind)}/{name} created")
        return
    schema = find_schema(kind.group, kind.version, kind.kind)
    patch = build_apply_patch(find_last_applied(live), wanted, schema)
    patch_type: PatchType = "strategic" if schema else "merge"
    changed = await client.patch(kind, place, name, patch, type=patch_type, params=params)
    same = changed["metadata"].get("resourceVersion") == live["metadata"].get("resourceVersion")
    click.echo(f"{format_kind(kind)}/{name} {'unchanged' if same else 'configured'}")


def _with_lines(error: LateenError, document: Document, source: str) -> DataError:
    """The same refusal with one diagnostic per mistake, each with its line."""
    if isinstance(error, DataError) and error.diagnostics:
        return error
    causes = error.details.get("causes") or [] if isinstance(error, ApiInvalidError) else []
    found = [(cause.get("field", ""), cause.get("message", "")) for cause in causes]
    found = found or [(path, "unknown field") for path in _UNKNOWN_FIELD.findall(error.message)]
    if isinstance(error, UnknownKindError):
        found = [("kind", error.message)]
    found = found or [(_find_mismatch(document.object, error.message), error.message)]
    metadata = document.object.get("metadata") or {}
    subject = f"{document.object.get('kind')} {metadata.get('name', '')}".strip()
    diagnostics = [
        Diagnostic(
            code="IST0106",
            level=Level.ERROR,
            subject=subject,
            path=path,
            message=message,
            file=source,
            line=document.line_of(path),
            fix=error.fix,
        )
        for path, message in found
    ]
    return DataError(error.message, diagnostics=diagnostics)


def _find_mismatch(document: dict[str, Any], message: str) -> str:
    """The path, with indices, of the field whose JSON type Go's decoder complains of; empty when it names none."""
    told = _WRONG_TYPE.search(message)
    if told is None:
        return ""
    places = [path for path, value in _iterate_places(document, told["field"].split("."), "") if _fits(value, told)]
    return places[0] if places else told["field"]


def _fits(value: Any, told: re.Match[str]) -> bool:
    return json_type(value) == told["found"]


def _iterate_places(value: Any, fields: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Every value at a path without indices, with its path with indices."""
    if not fields:
        yield path, value
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _iterate_places(item, fields, f"{path}[{index}]")
    elif fields and isinstance(value, dict) and fields[0] in value:
        yield from _iterate_places(value[fields[0]], fields[1:], f"{path}.{fields[0]}".lstrip("."))
