"""`lateen get`, `delete`, `logs` and `exec`: the few verbs that a machine without kubectl needs.

The server does the work: it renders the tables that `get` prints, as it does for kubectl.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import click

from lateen.api.kinds import Kind
from lateen.base.errors import NotFoundError, UsageError
from lateen.cli.output import print_data, print_table
from lateen.cli.session import Session, format_kind, namespace_options, run_session
from lateen.cli.target import find_pod
from lateen.kube.client import format_path

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def parse_targets(words: Sequence[str]) -> list[tuple[str, str]]:
    """(kind word, name) pairs of `pods`, `pod a b`, `pod/a svc/b`, `pods,services`; no name means all."""
    if not words:
        raise UsageError("what to show is missing", fix="for example `lateen get pods`")
    if any("/" in word for word in words):
        pairs = [word.partition("/") for word in words]
        if any(not kind or not name for kind, _, name in pairs):
            raise UsageError(f"cannot mix kinds and KIND/NAME in {' '.join(words)!r}")
        return [(kind, name) for kind, _, name in pairs]
    kinds = words[0].split(",")
    return [(kind, name) for kind in kinds for name in (words[1:] or [""])]


@click.command()
@click.argument("words", nargs=-1, metavar="KIND [NAME...] | KIND/NAME...")
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-o", "--output", default="", help="wide, json, yaml or name.")
@click.option("-l", "--selector", default="", help="Label selector.")
@click.option("-w", "--watch", is_flag=True, help="Go on showing what changes.")
@namespace_options
def get(
    *,
    words: tuple[str, ...],
    all_namespaces: bool,
    output: str,
    selector: str,
    watch: bool,
    namespace: str | None,
    kubeconfig: Path | None,
) -> None:
    """Show objects.

    \b
    Examples:
      lateen get pods -A
      lateen get vs my-vs -o yaml
    """
    if output not in ("", "wide", "json", "yaml", "name"):
        raise UsageError(f"unknown output form {output!r}", fix="one of wide, json, yaml, name")
    targets = parse_targets(words)

    async def work(session: Session) -> None:
        scope = "" if all_namespaces else (namespace or session.namespace)
        show = Show(session, output, scope, selector, all_namespaces=all_namespaces)
        for word, name in targets:
            await show.objects(await session.find_word(word), name)
        if watch:
            await show.follow(await session.find_word(targets[0][0]))

    run_session(kubeconfig, work)


class Show:
    """Prints objects in one form."""

    def __init__(self, session: Session, form: str, scope: str, selector: str, *, all_namespaces: bool) -> None:
        self._session, self._form, self._scope, self._selector = session, form, scope, selector
        self._all_namespaces = all_namespaces

    async def objects(self, kind: Kind, name: str) -> None:
        """Print one object or a list."""
        if self._form in ("json", "yaml"):
            print_data(await self._document(kind, name), self._form)
            return
        path = format_path(kind, self._scope, name)
        params = {"labelSelector": self._selector} if self._selector else {}
        table = json.loads(await self._session.client.raw("GET", path, params=params, accept=TABLE))
        if self._form == "name":
            for row in table["rows"]:
                click.echo(f"{format_kind(kind)}/{row['object']['metadata']['name']}")
            return
        if not table["rows"]:
            place = f" in {self._scope} namespace" if kind.namespaced and self._scope else ""
            click.echo(f"No resources found{place}.", err=True)
            return
        self._print(table, with_header=True)

    async def follow(self, kind: Kind) -> None:
        """Print rows as objects change, until Ctrl-C."""
        listed = await self._session.client.list(kind, self._scope, label_selector=self._selector)
        events = self._session.client.watch(
            kind, self._scope, resource_version=listed.resource_version, label_selector=self._selector
        )
        async for event in events:
            if event.type != "BOOKMARK":
                metadata = event.object["metadata"]
                click.echo(f"{event.type:<9} {format_kind(kind)}/{metadata['name']}")

    async def _document(self, kind: Kind, name: str) -> Any:
        if name:
            return await self._session.client.get(kind, self._scope, name)
        found = await self._session.client.list(kind, self._scope, label_selector=self._selector)
        return {"apiVersion": "v1", "kind": "List", "items": found.items}

    def _print(self, table: dict[str, Any], *, with_header: bool) -> None:
        columns = table["columnDefinitions"]
        shown = [n for n, column in enumerate(columns) if self._form == "wide" or not column.get("priority")]
        header = [columns[n]["name"].upper() for n in shown]
        rows = [[_cell(row["cells"][n]) for n in shown] for row in table["rows"]]
        if self._all_namespaces and any("namespace" in row["object"]["metadata"] for row in table["rows"]):
            header.insert(0, "NAMESPACE")
            for cells, row in zip(rows, table["rows"], strict=True):
                cells.insert(0, row["object"]["metadata"].get("namespace", ""))
        print_table(header if with_header else (), rows)


def _cell(value: Any) -> str:
    return "<none>" if value is None else str(value)


@click.command()
@click.argument("words", nargs=-1, metavar="KIND NAME... | KIND/NAME...")
@click.option("-f", "--filename", "files", multiple=True, help="File, directory or - with the objects to delete.")
@click.option("--wait/--no-wait", default=True, help="Wait until the objects are gone.")
@namespace_options
def delete(
    *, words: tuple[str, ...], files: tuple[str, ...], wait: bool, namespace: str | None, kubeconfig: Path | None
) -> None:
    """Delete objects by name or by file."""
    from lateen.cli.apply import load_files

    async def work(session: Session) -> None:
        scope = namespace or session.namespace
        going = []
        for word, name in parse_targets(words) if words else []:
            if not name:
                raise UsageError("name what to delete", fix="for example `lateen delete pod/a`")
            going.append(await _delete(session, await session.find_word(word), scope, name))
        for _source, document in load_files(files):
            kind = await session.find_document(document.object)
            metadata = document.object.get("metadata") or {}
            going.append(await _delete(session, kind, metadata.get("namespace") or scope, metadata["name"]))
        for one in going if wait else ():
            await _wait_until_gone(session, *one)

    if not words and not files:
        raise UsageError("what to delete is missing", fix="for example `lateen delete pod/a` or `-f FILE`")
    run_session(kubeconfig, work)


async def _delete(session: Session, kind: Kind, namespace: str, name: str) -> tuple[Kind, str, str, str | None]:
    """Ask for the deletion, and return what to wait for; those behind a namespace are asked for before it is gone."""
    deleted = await session.client.delete(kind, namespace, name)
    click.echo(f'{format_kind(kind)} "{name}" deleted')
    return kind, namespace, name, (deleted.get("metadata") or {}).get("uid")


async def _wait_until_gone(session: Session, kind: Kind, namespace: str, name: str, uid: str | None) -> None:
    while uid:
        try:
            found = await session.client.get(kind, namespace, name)
        except NotFoundError:
            return
        if found["metadata"]["uid"] != uid:
            return
        await asyncio.sleep(0.1)


@click.command()
@click.argument("pod", metavar="[TYPE/]NAME")
@click.option("-c", "--container", default="", help="Container [default: the only or first one].")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@click.option("--tail", type=int, default=None, help="Only the last lines.")
@click.option("-p", "--previous", is_flag=True, help="The log of the container's previous run.")
@namespace_options
def logs(
    *,
    pod: str,
    container: str,
    follow: bool,
    tail: int | None,
    previous: bool,
    namespace: str | None,
    kubeconfig: Path | None,
) -> None:
    """Print the log of a container."""
    params = {"container": container} if container else {}
    params |= {"follow": "true"} if follow else {}
    params |= {"previous": "true"} if previous else {}
    params |= {"tailLines": str(tail)} if tail is not None else {}

    async def work(session: Session) -> None:
        found = (await find_pod(session, pod, namespace))["metadata"]
        path = f"/api/v1/namespaces/{found['namespace']}/pods/{found['name']}/log"
        async for chunk in session.client.stream(path, params=params):
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()

    run_session(kubeconfig, work)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("pod", metavar="[TYPE/]NAME")
@click.option("-c", "--container", default="", help="Container [default: the only or first one].")
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@namespace_options
def exec_(
    *,
    pod: str,
    container: str,
    stdin: bool,
    command: tuple[str, ...],
    namespace: str | None,
    kubeconfig: Path | None,
) -> int:
    """Run a command in a container; its exit code is ours.

    \b
    Example:
      lateen exec deploy/client -c curl -- curl -s http://hello/
    """
    from lateen.kube.exec import run_in_pod

    async def work(session: Session) -> int:
        found = (await find_pod(session, pod, namespace))["metadata"]
        return await run_in_pod(
            session.client,
            found["namespace"],
            found["name"],
            list(command),
            container=container,
            stdin=_read_stdin() if stdin else None,
            on_stdout=lambda data: _write(sys.stdout, data),
            on_stderr=lambda data: _write(sys.stderr, data),
        )

    return run_session(kubeconfig, work)


def _write(stream: Any, data: bytes) -> None:
    stream.buffer.write(data)
    stream.flush()


async def _read_stdin() -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(os.read, sys.stdin.fileno(), 65536):
        yield chunk
