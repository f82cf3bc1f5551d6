"""What of a pod's traffic is intercepted: annotations over chart values -> the arguments of `istio-init`.

Invariant: an annotation that is no list of ports or ranges stops the injection with its name, since rules that mean
something else than was written would leave traffic out of the mesh unseen.
Source: Istio's injection template (`istio-iptables` flags) and `pkg/kube/inject/validate.go`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from lateen.base.errors import DataError
from lateen.inject.settings import InjectionSettings

INTERCEPTION_MODE = "sidecar.istio.io/interceptionMode"
STATUS_PORT = "status.sidecar.istio.io/port"
_PREFIX = "traffic.sidecar.istio.io/"
PROXY_USER = 1337
_PROXY_PORTS = "15090,15021"


def build_arguments(
    annotations: Mapping[str, str], settings: InjectionSettings, *, mode: str, user: int, status_port: str
) -> list[str]:
    """The arguments of `istio-init`, or of `istio-validation` where the node's CNI plugin sets the rules."""
    proxy = settings.proxy
    read = _Reader(annotations)
    included = read("includeInboundPorts", proxy.include_inbound_ports)
    arguments = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", str(user), "-m", mode]
    arguments += ["-i", read("includeOutboundIPRanges", proxy.include_ip_ranges)]
    arguments += ["-x", read("excludeOutboundIPRanges", proxy.exclude_ip_ranges)]
    arguments += ["-b", included]
    arguments += [
        "-d",
        ",".join(filter(None, (_PROXY_PORTS, find_excluded_inbound(annotations, settings, status_port)))),
    ]
    for name, flag, default in (
        ("includeOutboundPorts", "-q", proxy.include_outbound_ports),
        ("excludeOutboundPorts", "-o", proxy.exclude_outbound_ports),
        ("kubevirtInterfaces", "-k", ""),
    ):
        if value := read(name, default):
            arguments += [flag, value]
    arguments.append(f"--log_output_level={settings.log_level}")
    if settings.log_as_json:
        arguments.append("--log_as_json")
    if settings.cni:
        arguments += ["--run-validation", "--skip-rule-apply"]
    return arguments


def build_cni_annotations(
    annotations: Mapping[str, str], settings: InjectionSettings, *, mode: str, status_port: str
) -> dict[str, str]:
    """What a CNI plugin reads: the effective settings as annotations."""
    proxy = settings.proxy
    read = _Reader(annotations)
    found = {
        INTERCEPTION_MODE: mode,
        f"{_PREFIX}includeOutboundIPRanges": read("includeOutboundIPRanges", proxy.include_ip_ranges),
        f"{_PREFIX}excludeOutboundIPRanges": read("excludeOutboundIPRanges", proxy.exclude_ip_ranges),
        f"{_PREFIX}includeInboundPorts": read("includeInboundPorts", proxy.include_inbound_ports),
        f"{_PREFIX}excludeInboundPorts": find_excluded_inbound(annotations, settings, status_port),
        f"{_PREFIX}includeOutboundPorts": read("includeOutboundPorts", proxy.include_outbound_ports),
        f"{_PREFIX}excludeOutboundPorts": read("excludeOutboundPorts", proxy.exclude_outbound_ports),
    }
    return {name: value for name, value in found.items() if value}


def find_excluded_inbound(annotations: Mapping[str, str], settings: InjectionSettings, status_port: str) -> str:
    """Inbound ports that are left alone, the status port among them."""
    ports = _Reader(annotations)("excludeInboundPorts", settings.proxy.exclude_inbound_ports)
    listed = [port.strip() for port in ports.split(",") if port.strip()]
    if status_port != "0" and status_port not in listed:
        listed.append(status_port)
    return ",".join(listed)


def read_number(annotations: Mapping[str, str], name: str, default: int) -> int:
    """An annotation that is a number that is not negative; raises DataError for another text."""
    text = annotations.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"annotation {name}: {text!r} is no number", fix="correct the annotation of the pod")
    return int(text)


class _Reader:
    """Annotations of one pod, each checked when it is read."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations

    def __call__(self, name: str, default: str) -> str:
        value = self._annotations.get(_PREFIX + name)
        if value is None:
            return default
        check = _CHECKS.get(name)
        if check is not None and not check(value):
            raise DataError(
                f"annotation {_PREFIX}{name}: {value!r} is {_MEANINGS[check]}",
                fix="correct the annotation of the pod, or leave it out",
            )
        return value


def _is_port_list(text: str) -> bool:
    return all(part.strip().isdigit() and int(part) < 65_536 for part in text.split(",") if part.strip())


def _is_port_list_or_all(text: str) -> bool:
    return text == "*" or _is_port_list(text)


def _is_range_list(text: str) -> bool:
    return all(_is_range(part.strip()) for part in text.split(",") if part.strip())


def _is_range_list_or_all(text: str) -> bool:
    return text == "*" or _is_range_list(text)


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "includeInboundPorts": _is_port_list_or_all,
    "excludeInboundPorts": _is_port_list,
    "includeOutboundPorts": _is_port_list_or_all,
    "excludeOutboundPorts": _is_port_list,
    "includeOutboundIPRanges": _is_range_list_or_all,
    "excludeOutboundIPRanges": _is_range_list,
}
_MEANINGS: Mapping[Callable[[str], bool], str] = {
    _is_port_list: "no list of ports",
    _is_port_list_or_all: "neither a list of ports nor *",
    _is_range_list: "no list of address ranges",
    _is_range_list_or_all: "neither a list of address ranges nor *",
}
