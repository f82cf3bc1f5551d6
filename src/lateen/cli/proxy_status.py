"""`lateen proxy-status` (`ps`): what discovery sent to each proxy, and whether the proxy took it.

Without arguments a table of all proxies; with a pod, the difference between what its Envoy has and what discovery
would send now. Source: the columns of istioctl proxy-status. We differ: what a proxy refused is told in Envoy's own
words below the table.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lateen.base.errors import NotFoundError, UsageError
from lateen.cli.mesh_status import read_debug
from lateen.cli.proxy_config.dump import ConfigDump, Document, parse_json
from lateen.cli.proxy_config.source import ask_envoy, name_of
from lateen.cli.proxy_config.table import print_columns, print_documents
from lateen.cli.session import Session, namespace_options, run_session
from lateen.cli.target import find_pod
from lateen.envoy.bootstrap import ISTIO_VERSION

TYPES = {"CDS": "cluster", "LDS": "listener", "EDS": "endpoint", "RDS": "route", "ECDS": "extension_config"}
"""The columns of -v 1, with discovery's name for each."""
_CONTROL_PLANE = "istiod"
# what is compared: heading, how a dump gives it
_COMPARED = (
    ("Clusters", "ClustersConfigDump", "dynamicActiveClusters", "cluster"),
    ("Listeners", "ListenersConfigDump", "dynamicListeners", "listener"),
    ("Routes", "RoutesConfigDump", "dynamicRouteConfigs", "routeConfig"),
)


def find_state(entry: Mapping[str, Any], name: str) -> str:
    """SYNCED, STALE, NOT SENT, ERROR, or IGNORED for a type that the proxy does not ask for."""
    if entry.get(f"{name}_refused"):
        return "ERROR"
    if f"{name}_sent" not in entry:
        return "IGNORED"
    if not entry[f"{name}_sent"]:
        return "NOT SENT"
    return "SYNCED" if entry[f"{name}_sent"] == entry.get(f"{name}_acked") else "STALE"


def build_rows(entries: Sequence[Mapping[str, Any]], *, verbosity: int) -> tuple[tuple[str, ...], list[list[str]]]:
    """(header, rows in order of names) of the table."""
    rows = []
    for entry in sorted(entries, key=lambda each: each["proxy"]):
        states = {short: find_state(entry, name) for short, name in TYPES.items()}
        last = [entry.get("istiod", _CONTROL_PLANE), entry.get("istio_version", ISTIO_VERSION)]
        asked = [short for short, state in states.items() if state != "IGNORED"]
        middle = [*states.values(), *last] if verbosity else [*last, f"{len(asked)} ({','.join(asked)})"]
        rows.append([entry["proxy"], entry.get("cluster_id", ""), *middle])
    end = (*TYPES, "ISTIOD", "VERSION") if verbosity else ("ISTIOD", "VERSION", "SUBSCRIBED TYPES")
    return ("NAME", "CLUSTER", *end), rows


def find_refusals(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each resource that a proxy refused."""
    return [
        f"{entry['proxy']} refused {short} {resource}: {message}"
        for entry in sorted(entries, key=lambda each: each["proxy"])
        for short, name in TYPES.items()
        for resource, message in sorted(entry.get(f"{name}_refused", {}).items())
    ]


@click.command("proxy-status")
@click.argument("target", required=False, metavar="[[TYPE/]NAME[.NAMESPACE]]")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@click.option("-v", "--verbosity", type=click.IntRange(0, 1), default=0, help="1 shows the state of each type.")
@click.option(
    "-f", "--file", default=None, type=click.Path(path_type=Path), help="Compare a dump of TARGET from a file."
)
@namespace_options
def proxy_status(
    *,
    target: str | None,
    output: str,
    verbosity: int,
    file: Path | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> None:
    """Show which proxies have what discovery sent them.

    \b
    Examples:
      lateen proxy-status -v 1
      lateen ps deploy/productpage-v1     what differs between its Envoy and discovery
    """
    if target is not None:
        compare(target, file, namespace=namespace, kubeconfig=kubeconfig)
        return
    if file is not None:
        raise UsageError("-f needs the pod that the dump is of")
    entries = [
        each
        for each in read_debug(kubeconfig, "/debug/syncz")
        if not namespace or each["proxy"].rpartition(".")[2] == namespace
    ]
    if output != "table":
        print_documents(entries, output)
        return
    header, rows = build_rows(entries, verbosity=verbosity)
    if not rows:
        click.echo("No proxies are connected.", err=True)
        return
    print_columns(header, rows)
    for line in find_refusals(entries):
        click.echo(line, err=True)


def compare(target: str, file: Path | None, *, namespace: str | None, kubeconfig: Path | None) -> None:
    """Print for each kind whether Envoy has what discovery would send, else the difference."""

    try:
        given = file.read_bytes() if file else b""
    except OSError as error:
        raise NotFoundError(f"cannot read {file}: {error.strerror}") from error

    async def work(session: Session) -> tuple[str, bytes]:
        pod = await find_pod(session, target, namespace)
        return name_of(pod), given if file else await ask_envoy(session, pod, "GET", "config_dump")

    name, text = run_session(kubeconfig, work)
    envoy = ConfigDump(parse_json(text, "the dump"))
    discovery = ConfigDump(read_debug(kubeconfig, "/debug/config_dump", proxyID=name))
    for heading, section, items, field in _COMPARED:
        sent, has = (find_resources(dump, section, items, field) for dump in (discovery, envoy))
        difference = list(difflib.unified_diff(_lines(sent), _lines(has), "discovery", "Envoy", lineterm=""))
        click.echo("\n".join([f"{heading} Don't Match", *difference]) if difference else f"{heading} Match")


def find_resources(dump: ConfigDump, section: str, items: str, field: str) -> dict[str, Document]:
    """The resources of discovery in a dump, by name."""
    found = [each.get("activeState", each) for each in dump.section(section).get(items, ())]
    return {each[field].get("name", ""): each[field] for each in found if field in each}


def _lines(resources: Mapping[str, Document]) -> list[str]:
    return json.dumps(resources, indent=1, sort_keys=True).splitlines()
