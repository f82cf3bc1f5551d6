"""`proxy-config cluster`: services by name, port, subset and direction with the DestinationRule behind each."""

from __future__ import annotations

from dataclasses import dataclass

from lateen.cli.proxy_config.dump import ConfigDump, Document, DumpError
from lateen.cli.proxy_config.matching import describe_config
from lateen.cli.proxy_config.table import print_columns, print_documents


@dataclass(frozen=True)
class ClusterFilter:
    """Which clusters are wanted, by parts of the name; empty fields take all."""

    fqdn: str = ""
    port: int = 0
    subset: str = ""
    direction: str = ""

    def takes(self, name: str) -> bool:
        """Whether a cluster is wanted."""
        parts = [self.fqdn, self.subset, self.direction, f"|{self.port}|" if self.port else ""]
        return all(part in name for part in parts if part)


def order_of_cluster(name: str) -> tuple[str, str, int, str]:
    """(host, subset, port, direction): the order of istioctl's tables."""
    direction, port, subset, host = split_cluster_name(name)
    return host, subset, port, direction


def split_cluster_name(name: str) -> tuple[str, int, str, str]:
    """(direction, port, subset, host) of `direction|port|subset|host`; any other name is all host."""
    parts = name.split("|")
    if len(parts) < 4:
        return "", 0, "", name
    return parts[0], int(parts[1]) if parts[1].isdecimal() else 0, parts[2], parts[3]


def print_clusters(dump: ConfigDump, wanted: ClusterFilter, form: str, *, prefix: str = "") -> None:
    """Print the clusters that are wanted."""
    clusters = sorted(dump.clusters(), key=lambda each: order_of_cluster(each.get("name", "")))
    if not clusters:
        raise DumpError("no clusters found")
    found = [each for each in clusters if wanted.takes(each.get("name", ""))]
    if form != "short":
        print_documents(found, form)
        return
    header = ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
    print_columns(header, [_row(each, prefix) for each in found])


def _row(cluster: Document, prefix: str) -> tuple[object, ...]:
    name = cluster.get("name", "")
    # STATIC is the enum's zero value; a cluster of a custom type is neither.
    kind = cluster.get("type", "STATIC")
    if name.count("|") < 3:
        return (prefix + name, "-", "-", "-", kind, describe_config(cluster))
    direction, port, subset, host = split_cluster_name(name)
    return (prefix + host, port, subset or "-", direction, kind, describe_config(cluster))
