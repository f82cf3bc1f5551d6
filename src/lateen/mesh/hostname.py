"""What host names in objects mean: short names, fully qualified ones, and the Services that they stand for.

(host, namespace of the object, domain) -> fully qualified host.

Only a name without a dot is short: `reviews` in namespace `shop` is `reviews.shop.svc.cluster.local`, while
`reviews.shop` stays as it is, and matches nothing that the cluster knows by that name.
Source: Istio's pilot/pkg/model (ResolveShortnameToFQDN).
"""

from __future__ import annotations

from lateen.base.names import ObjectRef
from lateen.mesh.indexes import HostKey, host_key, is_short


def resolve_host(host: str, namespace: str, short_name_domain: str) -> str:
    """Return the host that an object of a namespace means; `short_name_domain` is `svc.cluster.local`, or empty."""
    if not is_short(host):
        return host
    return f"{host}.{namespace}.{short_name_domain}".removesuffix(".")


def find_service_ref(host: str, cluster_domain: str) -> ObjectRef | None:
    """Return the Service that a fully qualified host name stands for."""
    name, _, rest = host.partition(".")
    namespace, _, domain = rest.partition(".")
    return ObjectRef("Service", namespace, name) if domain == f"svc.{cluster_domain}" else None


def list_host_keys(host: str, short_name_domain: str) -> tuple[HostKey, ...]:
    """Return every key under which objects that name a host, in full or short, may be filed."""
    keys = [host_key(host, "")]
    name, _, rest = host.partition(".")
    namespace, _, domain = rest.partition(".")
    if domain == short_name_domain and is_short(name) and namespace:
        keys.append((namespace, name.lower()))
    return tuple(keys)


def list_wildcards(host: str) -> tuple[str, ...]:
    """Return every wildcard that covers a host, the most specific first."""
    labels = host.lower().removeprefix("*.").split(".")
    start = 0 if host.startswith("*.") else 1
    found = [f"*.{'.'.join(labels[place:])}" for place in range(start, len(labels))]
    return (*found, "*")
