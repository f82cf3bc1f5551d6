"""The files of a container's own /etc. Pure.

Flow: pod, address, host name, user -> path -> text. Source: resolv.conf(5), hosts(5), passwd(5); search domains and
`ndots:5` as kubelet writes them for `ClusterFirst`.
"""

from __future__ import annotations

from lateen.api.pod import Pod

CLUSTER_DOMAIN = "cluster.local"
_NOBODY = 65534


def find_host_name(pod: Pod) -> str:
    """Return the host name inside the pod: `spec.hostname`, else the pod's name, as long as the kernel allows."""
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def build_etc(pod: Pod, address: str, *, user: int, group: int, name_server: str) -> dict[str, str]:
    """Return path -> text of the files that name things."""
    host_name = find_host_name(pod)
    return {
        "/etc/hostname": f"{host_name}\n",
        "/etc/hosts": _build_hosts(pod, address, host_name),
        "/etc/resolv.conf": _build_resolver(pod, name_server),
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
        "/etc/passwd": _build_passwd(user, group),
        "/etc/group": _build_group(group),
    }


def _build_hosts(pod: Pod, address: str, host_name: str) -> str:
    own = host_name
    if pod.spec.subdomain:
        own = f"{host_name}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{CLUSTER_DOMAIN} {host_name}"
    lines = ["127.0.0.1 localhost", f"{address} {own}"]
    lines += [f"{alias.ip} {' '.join(alias.hostnames)}" for alias in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def _build_resolver(pod: Pod, name_server: str) -> str:
    domain = CLUSTER_DOMAIN
    servers, options = [name_server], ["ndots:5"]
    searches = [f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain]
    if pod.spec.dns_policy == "None":
        servers, searches, options = [], [], []
    if (config := pod.spec.dns_config) is not None:
        servers += config.nameservers
        searches += config.searches
        options += [f"{o.name}:{o.value}" if o.value is not None else o.name for o in config.options]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(searches)}"] if searches else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def _build_passwd(user: int, group: int) -> str:
    lines = ["root:x:0:0:root:/root:/bin/sh", f"nobody:x:{_NOBODY}:{_NOBODY}:nobody:/:/bin/false"]
    if user not in (0, _NOBODY):
        lines.append(f"user:x:{user}:{group}:user:/tmp:/bin/sh")
    return "\n".join(lines) + "\n"


def _build_group(group: int) -> str:
    lines = ["root:x:0:", f"nogroup:x:{_NOBODY}:"]
    if group not in (0, _NOBODY):
        lines.append(f"user:x:{group}:")
    return "\n".join(lines) + "\n"
