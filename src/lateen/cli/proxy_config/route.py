"""`proxy-config route`: routes by virtual host with the VirtualService behind each."""

from __future__ import annotations

from lateen.cli.proxy_config.dump import ConfigDump, Document, DumpError
from lateen.cli.proxy_config.matching import describe_config, describe_domains, describe_match
from lateen.cli.proxy_config.table import print_columns, print_documents

_PASSTHROUGH = "PassthroughCluster"


def print_routes(dump: ConfigDump, name: str, form: str, *, verbose: bool, prefix: str = "") -> None:
    """Print the route configurations of a name, or all: those named by a port in its order, then the others."""
    routes = sorted(dump.routes(), key=_order)
    if not routes:
        raise DumpError("no routes found")
    found = [each for each in routes if not name or each.get("name", "") == name]
    if form != "short":
        print_documents(found, form)
        return
    if not verbose:
        counts = [(prefix + each.get("name", ""), len(each.get("virtualHosts", ()))) for each in found]
        print_columns(("NAME", "VIRTUAL HOSTS"), counts)
        return
    rows = [row for each in found for host in each.get("virtualHosts", ()) for row in _rows(each, host, prefix)]
    print_columns(("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"), rows)


def _order(route: Document) -> tuple[bool, int]:
    name = route.get("name", "")
    return (False, int(name)) if name.isdecimal() else (True, 0)


def _rows(route: Document, host: Document, prefix: str) -> list[tuple[str, ...]]:
    first = (prefix + route.get("name", ""), host.get("name", ""), describe_domains(host.get("domains", [])))
    routes = host.get("routes", [])
    if not routes:
        return [(*first, "/*", "404")]
    return [
        (*first, describe_match(each.get("match", {})), describe_config(each))
        for each in routes
        if each.get("route", {}).get("cluster") != _PASSTHROUGH
    ]
