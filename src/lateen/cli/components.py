"""Components of the mesh as commands of their own: `lateen discovery`."""

from __future__ import annotations

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    short_help="Run the control plane against a Kubernetes API.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def discovery(arguments: tuple[str, ...]) -> None:
    """Run the control plane (Pilot and Citadel) against a Kubernetes API; see `lateen discovery --help`."""
    from lateen.pilot.main import main

    main(list(arguments))
