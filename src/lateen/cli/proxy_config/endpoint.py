"""`proxy-config endpoint`: where clusters lead, from Envoy's /clusters; `eds`: the same from the dump.

Only /clusters knows health and outlier detection, so it is what a live Envoy is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from lateen.cli.proxy_config.cluster import order_of_cluster
from lateen.cli.proxy_config.dump import ConfigDump, Document, normalise
from lateen.cli.proxy_config.table import print_columns, print_documents

_UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class EndpointFilter:
    """Which endpoints are wanted; empty fields take all."""

    address: str = ""
    port: int = 0
    cluster: str = ""
    status: str = ""

    def takes(self, address: str, port: int, cluster: str, status: str) -> bool:
        """Whether an endpoint is wanted."""
        texts = ((self.address, address), (self.cluster, cluster), (self.status, status))
        return all(wanted.lower() in ("", found.lower()) for wanted, found in texts) and self.port in (0, port)


def find_address(address: Document) -> tuple[str, int]:
    """(text, port) of an address; the port of what is no socket address is 0."""
    if "socketAddress" in address:
        socket_address = address["socketAddress"]
        return socket_address.get("address", ""), int(socket_address.get("portValue", 0))
    if "pipe" in address:
        return f"unix://{address['pipe'].get('path', '')}", 0
    if "envoyInternalAddress" in address:
        inner = address["envoyInternalAddress"]
        return f"envoy://{inner.get('serverListenerName', '')}/{inner.get('endpointId', '')}", 0
    return "unknown", 0


def print_endpoints(clusters: Document, wanted: EndpointFilter, form: str) -> None:
    """Print the endpoints of an answer of /clusters."""
    statuses = normalise("envoy.admin.v3.Clusters", clusters).get("clusterStatuses", [])
    found = [(cluster, host) for cluster in statuses for host in cluster.get("hostStatuses", ())]
    taken = [(cluster, host) for cluster, host in found if _takes(wanted, cluster, host)]
    if form != "short":
        names = {cluster.get("name") for cluster, _ in taken}
        print_documents([cluster for cluster in statuses if cluster.get("name") in names], form)
        return
    rows = sorted(
        (*find_address(host.get("address", {})), cluster.get("name", ""), _status(host), _outlier(host))
        for cluster, host in taken
    )
    print_columns(
        ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"),
        [
            (f"{address}:{port}" if port else address, status, outlier, cluster)
            for address, port, cluster, status, outlier in rows
        ],
    )


def _takes(wanted: EndpointFilter, cluster: Document, host: Document) -> bool:
    address, port = find_address(host.get("address", {}))
    return wanted.takes(address, port, cluster.get("name", ""), _status(host))


def _status(host: Document) -> str:
    return str(host.get("healthStatus", {}).get("edsHealthStatus", _UNKNOWN))


def _outlier(host: Document) -> str:
    return "FAILED" if host.get("healthStatus", {}).get("failedOutlierCheck") else "OK"


def print_load_assignments(dump: ConfigDump, wanted: EndpointFilter, form: str, *, prefix: str = "") -> None:
    """Print the endpoints of a dump."""
    found = []
    for assignment in dump.endpoints():
        name = assignment.get("clusterName", "")
        localities = []
        for locality in assignment.get("endpoints", ()):
            taken = [each for each in locality.get("lbEndpoints", ()) if _takes_endpoint(wanted, name, each)]
            localities.append({**locality, "lbEndpoints": taken})
        if any(locality["lbEndpoints"] for locality in localities):
            found.append({**assignment, "endpoints": localities})
    found.sort(key=lambda each: order_of_cluster(each.get("clusterName", "")))
    if form != "short":
        print_documents(found, form)
        return
    rows = [
        (
            prefix + _format_endpoint(each),
            each.get("healthStatus", _UNKNOWN),
            _format_locality(locality.get("locality", {})),
            assignment.get("clusterName", ""),
        )
        for assignment in found
        for locality in assignment["endpoints"]
        for each in locality["lbEndpoints"]
    ]
    print_columns(("NAME", "STATUS", "LOCALITY", "CLUSTER"), rows)


def _takes_endpoint(wanted: EndpointFilter, cluster: str, endpoint: Document) -> bool:
    port = find_address(endpoint.get("endpoint", {}).get("address", {}))[1]
    return wanted.takes(_format_endpoint(endpoint), port, cluster, endpoint.get("healthStatus", _UNKNOWN))


def _format_endpoint(endpoint: Document) -> str:
    address, port = find_address(endpoint.get("endpoint", {}).get("address", {}))
    return f"{address}:{port}" if port else address.removeprefix("unix://")


def _format_locality(locality: Document) -> str:
    parts = [locality.get("region", ""), locality.get("zone", ""), locality.get("subZone", "")]
    while parts and not parts[-1]:
        parts.pop()
    return "/".join(parts)
