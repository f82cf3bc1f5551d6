"""A click group whose commands go by several names, and flags that take `=true` and `=false` as Go's do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import click

_BOOLEAN = re.compile(r"--([a-z-]+)=(true|false)")


class AliasGroup(click.Group):
    """Finds commands by the other names they go by."""

    def __init__(self, *arguments: Any, aliases: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.aliases = dict(aliases or {})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name or another name."""
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, with the command's own name in its usage line."""
        _, command, rest = super().resolve_command(ctx, args)
        return command.name if command else None, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands with their other names."""
        others: dict[str, list[str]] = {}
        for alias, name in self.aliases.items():
            others.setdefault(name, []).append(alias)
        rows = [
            (", ".join([name, *others.get(name, ())]), command.get_short_help_str(90))
            for name, command in sorted(self.commands.items())
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class GoFlagsCommand(click.Command):
    """Reads `--verbose=false` as `--no-verbose`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse after rewriting boolean values."""
        switches = {
            name.removeprefix("--")
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.is_flag
            for name in parameter.opts
        }
        return super().parse_args(ctx, [_rewrite(word, switches) for word in args])


def _rewrite(word: str, switches: set[str]) -> str:
    found = _BOOLEAN.fullmatch(word)
    if found is None or found[1] not in switches:
        return word
    return f"--{found[1]}" if found[2] == "true" else f"--no-{found[1]}"


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def combine(*options: Decorator) -> Decorator:
    """One decorator of several, the first shown first in the help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
