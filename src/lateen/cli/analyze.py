"""`lateen analyze`: what is wrong with the mesh, or would be with some files applied to it.

Live objects, overlaid with those of files -> diagnostics of the chosen namespaces -> one line each, or data.

Invariants: references are judged against the objects of every namespace, whichever namespace is asked about; objects of
files are always reported on, with file and line. Exit code 79 when there is an error or a warning.
Source: `istioctl analyze` (arguments, line format, exit code). We differ: each line also has the path of the field.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lateen.api.objects import JsonObject, namespace_of, ref_of
from lateen.api.yaml_loader import Document
from lateen.base.diagnostics import Diagnostic, Level, format_diagnostic
from lateen.base.errors import NotFoundError, UsageError
from lateen.cli.apply import load_files
from lateen.cli.output import print_data
from lateen.cli.session import Session, namespace_options, run_session
from lateen.galley.analyze import analyze_documents
from lateen.mesh.inputs import MESH_CONFIG_REF

FINDINGS_EXIT_CODE = 79  # istioctl's, which scripts of users ask for

_WORDS = (
    "services",
    "endpointslices.discovery.k8s.io",
    "pods",
    "virtualservices.networking.istio.io",
    "destinationrules.networking.istio.io",
    "gateways.networking.istio.io",
    "serviceentries.networking.istio.io",
)
_PAGES = "https://istio.io/latest/docs/reference/config/analysis"


@click.command()
@click.argument("files", nargs=-1)
@click.option("-A", "--all-namespaces", is_flag=True, help="Report on every namespace.")
@click.option("-o", "--output", type=click.Choice(["log", "json", "yaml"]), default="log", help="Form of the output.")
@click.option("--use-kube", type=bool, default=True, show_default=True, help="Also read the objects of the cluster.")
@namespace_options
def analyze(
    *,
    files: tuple[str, ...],
    all_namespaces: bool,
    output: str,
    use_kube: bool,
    namespace: str | None,
    kubeconfig: Path | None,
) -> int:
    """Find mistakes in the mesh, or in FILES as if they were applied."""
    if not files and not use_kube:
        raise UsageError("there is nothing to analyze", fix="name files, or leave --use-kube=false away")
    loaded = [document for _, document in load_files(files)]

    async def work(session: Session) -> tuple[str, list[JsonObject]]:
        return namespace or session.namespace, await list_live(session)

    scope, live = run_session(kubeconfig, work) if use_kube else (namespace or "default", [])
    own = _place(loaded, scope)
    found = analyze_documents([*live, *(document.object for document in own)], workloads=use_kube)
    shown = locate([one for one in found if all_namespaces or _concerns(one, scope, own)], own)
    if output != "log":
        print_data([_describe(one) for one in shown], output)
    elif shown:
        click.echo("\n".join(format_diagnostic(one) for one in shown))
    else:
        click.echo(f"No problems found in {'all namespaces' if all_namespaces else f'namespace {scope}'}.")
    return FINDINGS_EXIT_CODE if any(one.level is not Level.INFO for one in shown) else 0


async def list_live(session: Session) -> list[JsonObject]:
    """Every object of the cluster that analysis reads; a kind that the server does not have counts as none."""
    found: list[JsonObject] = []
    for word in _WORDS:
        try:
            found += (await session.client.list(await session.find_word(word))).items
        except NotFoundError:
            continue
    try:
        kind = await session.find_word("configmaps")
        found.append(await session.client.get(kind, MESH_CONFIG_REF.namespace, MESH_CONFIG_REF.name))
    except NotFoundError:
        pass
    return found


def _place(documents: Iterable[Document], namespace: str) -> list[Document]:
    """Give objects without a namespace the one that they would be applied to."""
    for document in documents:
        if not namespace_of(document.object):
            document.object["metadata"] = {**(document.object.get("metadata") or {}), "namespace": namespace}
    return list(documents)


def _concerns(diagnostic: Diagnostic, namespace: str, own: Iterable[Document]) -> bool:
    _, _, name = diagnostic.subject.partition(" ")
    return name.startswith(f"{namespace}/") or any(diagnostic.subject == str(ref_of(one.object)) for one in own)


def locate(found: Iterable[Diagnostic], documents: Iterable[Document]) -> list[Diagnostic]:
    """The same with file and line where the object comes from a file."""
    known = {str(ref_of(document.object)): document for document in documents}
    return [
        replace(one, file=known[one.subject].source, line=known[one.subject].line_of(one.path))
        if one.subject in known
        else one
        for one in found
    ]


def _describe(diagnostic: Diagnostic) -> dict[str, Any]:
    place = None if diagnostic.file is None else f"{diagnostic.file}:{diagnostic.line}"
    page = f"{_PAGES}/{diagnostic.code.lower()}/" if diagnostic.code.startswith("IST") else None
    fields = {
        "code": diagnostic.code,
        "level": diagnostic.level.value,
        "origin": diagnostic.subject,
        "path": diagnostic.path,
        "message": diagnostic.message,
        "reference": place,
        "fix": diagnostic.fix,
        "documentationUrl": page,
    }
    return {name: value for name, value in fields.items() if value}
