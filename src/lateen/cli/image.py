"""`lateen image`: what an `image:` means on this machine, which pulls none.

`add NAME -- COMMAND...`, `list` and `remove NAME` change `images.json` of the state directory; a pod that waits with
ErrImagePull starts at its next try, a running one keeps what it runs.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from lateen.base.errors import UsageError
from lateen.cli.output import print_data, print_table
from lateen.cli.up import state_of, state_option
from lateen.cluster.images import BUILTIN
from lateen.cluster.user_images import FILE_NAME, UserImage, UserImages


@click.group()
def image() -> None:
    """Say what images mean: this machine pulls none.

    \b
    Example:
      lateen image add my-app --directory . -- python3 app.py
    """


def _open(state: Path | None) -> UserImages:
    place = state_of(state)
    place.create()
    return UserImages(place.path / FILE_NAME)


@image.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=None,
    help="A directory that the command needs: the container sees it read-only, and starts in it.",
)
@state_option
def add(*, name: str, command: tuple[str, ...], directory: Path | None, state: Path | None) -> None:
    """Let an image mean a command of this machine; containers see /usr of it, and DIRECTORY."""
    if directory is not None and not directory.is_dir():
        raise UsageError(f"{directory} is no directory")
    entry = UserImage(command, str(directory.resolve()) if directory else "")
    repository = _open(state).add(name, entry)
    click.echo(f"image {repository} runs: {shlex.join(command)}")


@image.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@state_option
def list_(*, output: str, state: Path | None) -> None:
    """Show the images that this machine knows, those that were added first."""
    added = _open(state).read()
    builtin = {name: each for name, each in sorted(BUILTIN.items()) if name not in added}
    if output != "table":
        rows = [{"name": name, "command": list(entry.command), "added": True} for name, entry in sorted(added.items())]
        rows += [
            {"name": name, "command": [*each.entrypoint, *each.arguments], "added": False}
            for name, each in builtin.items()
        ]
        print_data(rows, output)
        return
    lines = [(name, "added", shlex.join(entry.command)) for name, entry in sorted(added.items())]
    lines += [(name, "built in", shlex.join([*each.entrypoint, *each.arguments])) for name, each in builtin.items()]
    print_table(("NAME", "SOURCE", "COMMAND"), lines)


@image.command()
@click.argument("name")
@state_option
def remove(*, name: str, state: Path | None) -> None:
    """Forget an image that was added."""
    click.echo(f"image {_open(state).remove(name)} is forgotten")
