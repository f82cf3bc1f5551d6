"""What people and programs read: error messages, tables, progress.

Colour and progress only where standard output or error is a terminal; columns are separated by three
spaces as kubectl does, so that scripts written for it keep working.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from lateen.base.diagnostics import format_diagnostic
from lateen.base.errors import DataError, LateenError


def print_error(error: LateenError) -> None:
    """Write an error for a person: what is wrong, where, and what to do."""
    click.echo(click.style("error: ", fg="red", bold=True) + error.message, err=True)
    if isinstance(error, DataError):
        for diagnostic in error.diagnostics:
            click.echo("  " + format_diagnostic(diagnostic), err=True)
    if error.fix:
        click.echo(click.style("  what to do: ", bold=True) + error.fix, err=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write aligned columns in kubectl's manner."""
    lines = [[str(cell) for cell in row] for row in rows]
    table = [[*header], *lines] if header else lines
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))] if table else []
    for line in table:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("   ".join(padded).rstrip())


def print_data(value: Any, form: str) -> None:
    """Write JSON or YAML for a program."""
    if form == "json":
        click.echo(json.dumps(value, indent=4, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump(value, sort_keys=True, allow_unicode=True), nl=False)


class Steps:
    """Progress of a long command: one line per step, rewritten in place on a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._tty = sys.stderr.isatty()
        self._open = False

    def start(self, text: str) -> None:
        """Begin a step."""
        if not self._quiet:
            click.echo(f"\r\x1b[2K … {text}" if self._tty else f"   {text}", err=True, nl=not self._tty)
            self._open = self._tty

    def done(self, text: str) -> None:
        """End a step with its result."""
        if not self._quiet:
            mark = click.style("✔", fg="green")
            click.echo(("\r\x1b[2K " if self._open else " ") + f"{mark} {text}", err=True)
            self._open = False

    def failed(self, text: str) -> None:
        """End a step with its failure."""
        mark = click.style("✘", fg="red")
        click.echo(("\r\x1b[2K " if self._open else " ") + f"{mark} {text}", err=True)
        self._open = False
