"""`proxy-config listener`: addresses, what each filter chain matches, where it leads.

Source: the columns and words of `istioctl proxy-config listener`. We differ: a TCP proxy with weighted clusters names
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lateen.cli.proxy_config.dump import ConfigDump, Document, DumpError
from lateen.cli.proxy_config.matching import describe_match
from lateen.cli.proxy_config.table import NARROW, print_columns, print_documents

HTTP_FILTER = "envoy.filters.network.http_connection_manager"
TCP_FILTER = "envoy.filters.network.tcp_proxy"
_BLACK_HOLE = "BlackHoleCluster"
# application protocols of a filter chain -> the word for them
_PROTOCOLS = {
    ("http/1.0", "http/1.1", "h2c"): "App: HTTP",
    ("http/1.1", "h2c"): "App: HTTP",
    ("istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "App: Istio HTTP Plain",
    ("http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "App: HTTP TLS",
    ("istio-peer-exchange", "istio"): "App: TCP TLS",
}


@dataclass(frozen=True)
class ListenerFilter:
    """Which listeners are wanted; empty fields take all."""

    address: str = ""
    port: int = 0
    type: str = ""

    def takes(self, listener: Document) -> bool:
        """Whether a listener is wanted."""
        wanted_address, wanted_type = self.address.lower(), self.type.lower()
        return (
            (not wanted_address or find_address(listener).lower() == wanted_address)
            and (not self.port or find_port(listener) == self.port)
            and (not wanted_type or find_type(listener).lower() == wanted_type)
        )


def find_address(listener: Document) -> str:
    """The address that the listener is bound to; empty for one inside Envoy."""
    address = listener.get("address", {})
    return str(address.get("socketAddress", {}).get("address", "") or address.get("pipe", {}).get("path", ""))


def find_port(listener: Document) -> int:
    """The listener's port, or 0."""
    return int(listener.get("address", {}).get("socketAddress", {}).get("portValue", 0))


def find_type(listener: Document) -> str:
    """HTTP, TCP, HTTP+TCP or UNKNOWN, by the last filters of its chains."""
    filters = [each for chain in _chains(listener) for each in chain.get("filters", ())]
    has_http = any(each.get("name") == HTTP_FILTER for each in filters)
    has_tcp = any(
        each.get("name") == TCP_FILTER and each.get("typedConfig", {}).get("cluster") != _BLACK_HOLE for each in filters
    )
    return "+".join(word for word, present in (("HTTP", has_http), ("TCP", has_tcp)) if present) or "UNKNOWN"


def print_listeners(dump: ConfigDump, wanted: ListenerFilter, form: str, *, verbose: bool, prefix: str = "") -> None:
    """Print the listeners that are wanted."""
    try:
        listeners = dump.listeners()
    except DumpError as error:
        raise DumpError(f"listener dump: {error.message}") from error
    if not listeners:
        raise DumpError("no listeners found")
    found = [each for each in listeners if wanted.takes(each)]
    if form != "short":
        print_documents(found, form)
        return
    found.sort(key=lambda each: (find_port(each), find_address(each), find_type(each)))
    if not verbose:
        rows = [(prefix + _addresses(each), find_port(each), find_type(each)) for each in found]
        print_columns(("ADDRESSES", "PORT", "TYPE"), rows, padding=NARROW)
        return
    lines = []
    for listener in found:
        chains = [(_describe_chain_match(chain), _describe_chain(chain)) for chain in _chains(listener)]
        chains.sort(key=lambda pair: pair[1], reverse=True)
        lines += [(prefix + _addresses(listener), find_port(listener), match, to) for match, to in chains]
    print_columns(("ADDRESSES", "PORT", "MATCH", "DESTINATION"), lines, padding=NARROW)


def _addresses(listener: Document) -> str:
    more = [each.get("address", {}).get("socketAddress", {}) for each in listener.get("additionalAddresses", ())]
    return ",".join([find_address(listener), *(str(each.get("address", "")) for each in more)])


def _chains(listener: Document) -> list[Document]:
    default = listener.get("defaultFilterChain")
    return [*listener.get("filterChains", ()), *([default] if default else [])]


def _describe_chain_match(chain: Document) -> str:
    match = chain.get("filterChainMatch", {})
    words = []
    if names := match.get("serverNames"):
        words.append(f"SNI: {','.join(names)}")
    if transport := match.get("transportProtocol"):
        words.append(f"Trans: {transport}")
    if protocols := match.get("applicationProtocols"):
        words.append(_PROTOCOLS.get(tuple(protocols), f"App: {','.join(protocols)}"))
    port = f":{match['destinationPort']}" if "destinationPort" in match else ""
    if suffix := match.get("addressSuffix"):
        words.append(f"Addr: {suffix}{port}")
    if ranges := match.get("prefixRanges"):
        texts = [f"{each.get('addressPrefix', '')}/{each.get('prefixLen', 0)}" for each in ranges]
        words.append(f"Addr: {','.join(texts)}{port}")
    elif port:
        words.append(f"Addr: *{port}")
    return "; ".join(words) or "ALL"


def _describe_chain(chain: Document) -> str:
    for each in chain.get("filters", ()):
        config = each.get("typedConfig", {})
        if each.get("name") == HTTP_FILTER:
            if "routeConfig" in config:
                return _describe_inline(config["routeConfig"])
            name = config.get("rds", {}).get("routeConfigName", "")
            return f"Route: {name}" if name else "HTTP"
        if each.get("name") == TCP_FILTER and config.get("cluster") != _BLACK_HOLE:
            weighted = [cluster.get("name", "") for cluster in config.get("weightedClusters", {}).get("clusters", ())]
            return _describe_cluster(config.get("cluster", "") or ", ".join(weighted))
    return "Non-HTTP/Non-TCP"


def _describe_cluster(name: str) -> str:
    return name if "Cluster" in name else f"Cluster: {name}"


def _describe_inline(route: Document) -> str:
    hosts = route.get("virtualHosts", [])
    if len(hosts) == 1 and hosts[0].get("domains") == ["*"] and len(hosts[0].get("routes", ())) == 1:
        only = hosts[0]["routes"][0]
        cluster = only.get("route", {}).get("cluster", "")
        if cluster and only.get("match", {}).get("prefix") == "/":
            return _describe_cluster(cluster)
    return "Inline Route: " + "; ".join(map(_describe_host, hosts))


def _describe_host(host: Document) -> str:
    routes = ", ".join(describe_match(each.get("match", {})) for each in host.get("routes", ()))
    domains = host.get("domains", [])
    return routes if domains == ["*"] else f"{'/'.join(domains)} {routes}"
