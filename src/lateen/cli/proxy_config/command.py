"""`lateen proxy-config` (`pc`): the subcommands of istioctl's, with its names, flags and output.

Each takes `[TYPE/]NAME[.NAMESPACE]`, whose Envoy is asked, or `-f FILE` with a dump (`-` is standard input).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from lateen.base.errors import NotFoundError, UsageError
from lateen.cli.aliases import AliasGroup, GoFlagsCommand, combine
from lateen.cli.proxy_config.bootstrap import print_bootstrap, print_extensions
from lateen.cli.proxy_config.cluster import ClusterFilter, print_clusters
from lateen.cli.proxy_config.dump import ConfigDump, parse_json
from lateen.cli.proxy_config.endpoint import (
    EndpointFilter,
    print_endpoints,
    print_load_assignments,
)
from lateen.cli.proxy_config.listener import ListenerFilter, print_listeners
from lateen.cli.proxy_config.log import show_levels
from lateen.cli.proxy_config.route import print_routes
from lateen.cli.proxy_config.secret import print_secrets
from lateen.cli.proxy_config.source import ADMIN_PORT, ask_envoy
from lateen.cli.proxy_config.table import print_documents
from lateen.cli.session import Session, namespace_options, run_session
from lateen.cli.target import find_pod

_DUMP = "config_dump?include_eds"
_ALIASES = {
    "clusters": "cluster", "c": "cluster", "listeners": "listener", "l": "listener", "routes": "route", "r": "route",
    "endpoints": "endpoint", "ep": "endpoint", "secrets": "secret", "s": "secret", "b": "bootstrap", "a": "all",
    "o": "log", "extensions": "ecds",
}  # fmt: skip


@click.group("proxy-config", cls=AliasGroup, aliases=_ALIASES)
def proxy_config() -> None:
    """Show what an Envoy has: its listeners, routes, clusters, endpoints and certificates.

    \b
    Examples:
      lateen proxy-config routes deploy/productpage-v1 --name 9080
      lateen pc secret my-pod.my-namespace -o json
    """


def _read_file(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from error


class Place:
    """Where the configuration comes from: the Envoy of a pod, or a file."""

    def __init__(self, target: str | None, file: str | None, namespace: str | None, kubeconfig: Path | None, port: int):
        if (target is None) == (file is None):
            raise UsageError(
                "name either a pod or, with -f, a file",
                fix="for example deploy/my-app, my-pod.my-namespace or -f dump.json",
            )
        self._target, self._file, self._namespace = target, file, namespace
        self._kubeconfig, self._port = kubeconfig, port

    def read(self, path: str) -> bytes:
        """The answer to a path of the admin interface, or the file."""
        target = self._target
        if target is None:
            assert self._file is not None
            return _read_file(self._file)

        async def work(session: Session) -> bytes:
            return await ask_envoy(session, await find_pod(session, target, self._namespace), "GET", path, self._port)

        return run_session(self._kubeconfig, work)

    def dump(self) -> ConfigDump:
        """The configuration."""
        return ConfigDump(parse_json(self.read(_DUMP), "the dump"))

    def clusters(self) -> dict[str, Any]:
        """Clusters with the health of their endpoints."""
        return parse_json(self.read("clusters?format=json"), "Envoy's answer")


def _with_place(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options of every subcommand that reads; the command gets `place` and `output`."""

    def run(
        *,
        target: str | None,
        file: str | None,
        namespace: str | None,
        kubeconfig: Path | None,
        proxy_admin_port: int,
        **rest: Any,
    ) -> Any:
        return command(place=Place(target, file, namespace, kubeconfig, proxy_admin_port), **rest)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    return combine(
        click.argument("target", required=False, metavar="[[TYPE/]NAME[.NAMESPACE]]"),
        click.option("-f", "--file", default=None, help="Read a dump from a file, or - for standard input."),
        click.option("-o", "--output", type=click.Choice(["short", "json", "yaml"]), default="short"),
        click.option("--proxy-admin-port", type=int, default=ADMIN_PORT, show_default=True),
        namespace_options,
    )(run)


_verbose = click.option("--verbose/--no-verbose", default=True, help="More columns [default].")
_port = click.option("--port", type=int, default=0, help="Only this port.")
_address = click.option("--address", default="", help="Only this address.")
_type = click.option("--type", "type_", default="", help="Only HTTP, TCP, HTTP+TCP or UNKNOWN.")
_name = click.option("--name", default="", help="Only the route configuration of this name.")
_cluster_filters = combine(
    click.option("--fqdn", default="", help="Only names with this part."),
    click.option("--direction", default="", help="Only inbound or outbound."),
    click.option("--subset", default="", help="Only this subset."),
)
_endpoint_filters = combine(
    click.option("--cluster", default="", help="Only this cluster."),
    click.option("--status", default="", help="Only healthy, unhealthy, ..."),
)


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
@_cluster_filters
@_port
def cluster(*, place: Place, output: str, fqdn: str, port: int, subset: str, direction: str) -> None:
    """Clusters, and the DestinationRule behind each."""
    print_clusters(place.dump(), ClusterFilter(fqdn, port, subset, direction), output)


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
@combine(_address, _port, _type, _verbose)
def listener(*, place: Place, output: str, address: str, port: int, type_: str, verbose: bool) -> None:
    """Listeners, what their chains match and where they lead."""
    print_listeners(place.dump(), ListenerFilter(address, port, type_), output, verbose=verbose)


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
@combine(_name, _verbose)
def route(*, place: Place, output: str, name: str, verbose: bool) -> None:
    """Routes by virtual host, and the VirtualService behind each."""
    print_routes(place.dump(), name, output, verbose=verbose)


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
@combine(_address, _port, _endpoint_filters)
def endpoint(*, place: Place, output: str, address: str, port: int, cluster: str, status: str) -> None:
    """Endpoints with their health."""
    print_endpoints(place.clusters(), EndpointFilter(address, port, cluster, status), output)


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
@combine(_address, _port, _endpoint_filters)
def eds(*, place: Place, output: str, address: str, port: int, cluster: str, status: str) -> None:
    """Endpoints as discovery sent them, with their localities."""
    print_load_assignments(place.dump(), EndpointFilter(address, port, cluster, status), output)


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
def secret(*, place: Place, output: str) -> None:
    """Certificates, and how long they are valid."""
    print_secrets(place.dump(), output, now=datetime.now(UTC))


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
def bootstrap(*, place: Place, output: str) -> None:
    """Versions (short), or the configuration that Envoy started with."""
    print_bootstrap(place.dump(), output)


@proxy_config.command(cls=GoFlagsCommand)
@_with_place
def ecds(*, place: Place, output: str) -> None:
    """Extension configurations that discovery sent by themselves."""
    print_extensions(place.dump(), output)


@proxy_config.command("all", cls=GoFlagsCommand)
@_with_place
@combine(_cluster_filters, _address, _port, _type, _name, _verbose)
def all_(
    *,
    place: Place,
    output: str,
    fqdn: str,
    direction: str,
    subset: str,
    address: str,
    port: int,
    type_: str,
    name: str,
    verbose: bool,
) -> None:
    """Everything, each table after the other."""
    if output != "short":
        print_documents(parse_json(place.read(_DUMP), "the dump"), output)
        return
    dump = place.dump()
    print_bootstrap(dump, output)
    click.echo()
    print_clusters(dump, ClusterFilter(fqdn, port, subset, direction), output, prefix="cluster/")
    click.echo()
    wanted = ListenerFilter(address, port, type_)
    print_listeners(dump, wanted, output, verbose=verbose, prefix="listener/")
    click.echo()
    print_routes(dump, name, output, verbose=verbose, prefix="route/")
    click.echo()
    print_secrets(dump, output, now=datetime.now(UTC), prefix="secret/")
    click.echo()
    print_load_assignments(dump, EndpointFilter(address, port), output, prefix="endpoint/")


@proxy_config.command(cls=GoFlagsCommand)
@click.argument("target", metavar="[TYPE/]NAME[.NAMESPACE]")
@click.option("--level", default="", help="LEVEL for all loggers, or LOGGER:LEVEL,...")
@click.option("-r", "--reset", is_flag=True, help="Back to warning.")
@namespace_options
def log(*, target: str, level: str, reset: bool, namespace: str | None, kubeconfig: Path | None) -> None:
    """Show or set the levels of Envoy's loggers."""
    show_levels(target, level, reset=reset, namespace=namespace, kubeconfig=kubeconfig)
