"""What commands need of the API server: a client by kubeconfig, and kinds by the words users write."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from lateen.api.kinds import Kind, Registry, format_api_version, parse_api_version
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.base.errors import DataError, UnavailableError, UsageError
from lateen.cluster.state import StateDir, default_state_dir, find_running
from lateen.kube.client import Client
from lateen.kube.config import load_config

Result = TypeVar("Result")


def namespace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-n` and `--kubeconfig`, for every command that talks to the API server."""
    command = click.option("-n", "--namespace", default=None, help="Namespace [default: that of the context].")(command)
    return click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help="Kubeconfig [default: $KUBECONFIG, else the running cluster's].",
    )(command)


class UnknownKindError(DataError):
    """A document of a kind that the server does not have."""


class Session:
    """A client, its default namespace, and the kinds that the server knows."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.namespace = client.config.namespace
        self._registry = Registry([*BUILTIN, *ISTIO])
        self._discovered = False

    async def find_word(self, word: str) -> Kind:
        """The kind that a word such as `vs`, `pods` or `deploy` names; raises UsageError for an unknown one."""
        if kind := self._registry.resolve(word):
            return kind
        await self._discover()
        if kind := self._registry.resolve(word):
            return kind
        raise UsageError(f"the server has no resource type {word!r}", fix="`kubectl api-resources` lists them")

    async def find_document(self, document: dict[str, Any]) -> Kind:
        """The kind of a document; raises UnknownKindError for one that the server does not have."""
        for attempt in (False, True):
            if attempt:
                await self._discover()
            if kind := self._registry.find_document(document):
                return kind
        kind_name, version = document.get("kind"), document.get("apiVersion")
        raise UnknownKindError(
            f"the server has no kind {kind_name!r} in apiVersion {version!r}",
            fix="check both words, or apply its CustomResourceDefinition first",
        )

    async def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        groups = json.loads(await self.client.raw("GET", "/apis"))["groups"]
        for group in groups:
            for version in group["versions"]:
                path = f"/apis/{version['groupVersion']}"
                for resource in json.loads(await self.client.raw("GET", path))["resources"]:
                    self._add(group["name"], version["version"], resource)

    def _add(self, group: str, version: str, resource: dict[str, Any]) -> None:
        known = self._registry.find(group, version, resource["name"])
        if known is not None or "/" in resource["name"]:
            return
        self._registry.add(
            Kind(
                group=group,
                version=version,
                served_versions=(version,),
                kind=resource["kind"],
                plural=resource["name"],
                singular=resource.get("singularName") or resource["kind"].lower(),
                short_names=tuple(resource.get("shortNames", ())),
                namespaced=resource["namespaced"],
                builtin=False,
            )
        )


def at_version(kind: Kind, document: dict[str, Any]) -> Kind:
    """The kind as the document's own version serves it."""
    group, version = parse_api_version(str(document.get("apiVersion", format_api_version(kind.group, kind.version))))
    return msgspec.structs.replace(kind, version=version) if group == kind.group else kind


def format_kind(kind: Kind) -> str:
    """The kind as kubectl writes it before a name: `pod`, `deployment.apps`."""
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular


def run_session(kubeconfig: Path | None, work: Callable[[Session], Awaitable[Result]]) -> Result:
    """Connect, do the work, disconnect."""

    async def run() -> Result:
        async with Client(load_config(kubeconfig or _running_kubeconfig())) as client:
            return await work(Session(client))

    return asyncio.run(run())


def _running_kubeconfig() -> Path | None:
    if os.environ.get("KUBECONFIG"):
        paths = [Path(part) for part in os.environ["KUBECONFIG"].split(os.pathsep) if part]
        if not any(path.exists() for path in paths):
            raise UnavailableError(
                f"KUBECONFIG names {os.environ['KUBECONFIG']}, which does not exist",
                fix="`lateen up` prints the right line; `lateen status` shows a running cluster",
            )
        return None
    state = StateDir(default_state_dir())
    if find_running(state) is None and not (Path.home() / ".kube" / "config").exists():
        raise UnavailableError("no cluster runs here and KUBECONFIG is not set", fix="start one with `lateen up -d`")
    return state.kubeconfig if find_running(state) else None
