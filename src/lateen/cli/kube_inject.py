"""`lateen kube-inject -f`: files with a sidecar in every workload, as `istioctl kube-inject` writes them.

Files -> documents -> injected documents -> YAML on standard output or in a file. It asks no cluster: the settings are
those of a fresh mesh, or of `--valuesFile` and `--meshConfigFile`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from lateen.base.errors import DataError, UsageError
from lateen.cli.apply import load_files
from lateen.inject.kube_inject import inject_document
from lateen.inject.settings import InjectionSettings, read_settings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("kube-inject")
@click.option("-f", "--filename", "files", multiple=True, required=True, help="File, directory or -.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--valuesFile", "values_file", type=_FILE, help="Istio's chart values, YAML or JSON.")
@click.option("--meshConfigFile", "mesh_file", type=_FILE, help="The mesh configuration, YAML.")
def kube_inject(
    *, files: tuple[str, ...], output: Path | None, values_file: Path | None, mesh_file: Path | None
) -> None:
    """Add the sidecar to every workload of the files."""
    settings = _find_settings(values_file, mesh_file)
    documents = load_files(files)
    if not documents:
        raise UsageError(f"{', '.join(files)}: no object in there")
    injected = []
    for source, document in documents:
        try:
            injected.append(inject_document(document.object, settings))
        except DataError as error:
            raise DataError(f"{source}:{document.line}: {error.message}", fix=error.fix) from error
    text = "".join(f"{yaml.safe_dump(one, sort_keys=False)}---\n" for one in injected)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)


def _find_settings(values_file: Path | None, mesh_file: Path | None) -> InjectionSettings:
    if values_file is None and mesh_file is None:
        return InjectionSettings()
    return read_settings(_read_mapping(values_file), _read_mapping(mesh_file))


def _read_mapping(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is no mapping")
    return found
