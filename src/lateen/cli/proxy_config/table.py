"""Tables as istioctl lays them out: columns padded by spaces, the last one not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

WIDE, NARROW = 5, 1
"""Spaces between columns: listeners and the versions of the bootstrap have the narrow form."""


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, padding: int = WIDE) -> str:
    """Header and rows as lines."""
    lines = [[str(cell) for cell in row] for row in rows]
    table = [[*header], *lines] if header else lines
    widths = [max(len(line[column]) for line in table) + padding for column in range(len(table[0]))] if table else []
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)) + line[-1] + "\n"
        for line in table
    )


def print_columns(header: Sequence[str], rows: Iterable[Sequence[object]], *, padding: int = WIDE) -> None:
    """Write a table to standard output."""
    click.echo(format_table(header, rows, padding=padding), nl=False)


def print_documents(value: Any, form: str) -> None:
    """Write documents as JSON or YAML."""
    if form == "json":
        click.echo(json.dumps(value, indent=4, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=1 << 20))
