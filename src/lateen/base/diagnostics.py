"""User mistakes as data: one shape for admission, analysis, status, the command line and the console.

(code, subject, path, arguments) -> Diagnostic -> one line of text. The codes and their levels stand in
`catalogue`; Istio's own IST codes are kept where Istio has one, so that its documentation applies.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is: an error has no effect as written, a warning has one that is rarely meant."""

    ERROR = "Error"
    WARNING = "Warning"
    INFO = "Info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One mistake: what is wrong, where, and what to do.

    `subject` is `Kind namespace/name` (or a file), `path` the field as in `spec.http[0].route`, empty for
    the whole.
    """

    code: str
    level: Level
    subject: str
    path: str
    message: str
    file: str | None = None
    line: int | None = None
    fix: str | None = None


def format_diagnostic(diagnostic: Diagnostic) -> str:
    """`Warning [IST0103] (Pod ns/name file:3) spec.x: text`: `istioctl analyze`, plus path and fix."""
    where = diagnostic.subject
    if diagnostic.file is not None:
        place = diagnostic.file if diagnostic.line is None else f"{diagnostic.file}:{diagnostic.line}"
        where = f"{where} {place}" if where and where != diagnostic.file else place
    elif diagnostic.line is not None:
        where = f"{where} line {diagnostic.line}"
    path = f"{diagnostic.path}: " if diagnostic.path else ""
    text = f"{diagnostic.level.value} [{diagnostic.code}] ({where}) {path}{diagnostic.message}"
    return text if diagnostic.fix is None else f"{text}\n  fix: {diagnostic.fix}"
