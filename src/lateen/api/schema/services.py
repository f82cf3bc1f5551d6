"""What a Service must be beyond its types: (document, old document or None) -> FieldErrors.

Documents come here with defaults applied. The cluster address cannot change once set, unless the Service
becomes or was an ExternalName or stays headless. Source: the Service page of the Kubernetes API reference.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from lateen.api.schema import names
from lateen.api.schema.containers import PROTOCOLS, validate_port
from lateen.api.schema.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from lateen.api.schema.metadata import validate_labels

Part = Mapping[str, Any]

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_POLICIES = ("Cluster", "Local")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")


def validate_service(service: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a Service, and in its change when it existed before."""
    spec = service.get("spec") or {}
    kind = spec.get("type") or ""
    if old is not None:
        yield from _validate_address_change(spec, old.get("spec") or {})
    ports = spec.get("ports") or []
    if not ports and not _is_headless(spec) and kind != "ExternalName":
        yield required("spec.ports")
    yield from _validate_type(spec, kind)
    yield from _validate_ports(ports, kind)
    yield from validate_labels(spec.get("selector") or {}, "spec.selector")
    yield from _listed(spec, "sessionAffinity", _AFFINITIES)
    yield from _validate_affinity(spec)
    if kind != "ExternalName":
        yield from _validate_addresses(spec)
    for place, address in enumerate(spec.get("externalIPs") or ()):
        yield from _validate_address(address, f"spec.externalIPs[{place}]")
    yield from _listed(spec, "type", _TYPES)
    yield from _validate_policies(spec, kind)


def _is_headless(spec: Part) -> bool:
    return bool(spec.get("clusterIP") == "None" or (spec.get("clusterIPs") or [""])[0] == "None")


def _listed(spec: Part, member: str, allowed: tuple[str, ...]) -> Iterator[FieldError]:
    value = spec.get(member)
    if not value:
        yield required(f"spec.{member}")
    elif value not in allowed:
        yield not_supported(f"spec.{member}", value, allowed)


def _validate_type(spec: Part, kind: str) -> Iterator[FieldError]:
    if kind in {"LoadBalancer", "NodePort"} and _is_headless(spec):
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind != "ExternalName":
        return
    for member in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(member):
            yield forbidden(f"spec.{member}", "may not be set for ExternalName services")
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        yield required("spec.externalName")
    else:
        yield from (invalid("spec.externalName", name, text) for text in names.check_subdomain(name))


def _validate_ports(ports: list[Any], kind: str) -> Iterator[FieldError]:
    used_names: set[str] = set()
    used: set[tuple[Any, Any]] = set()
    used_node_ports: set[tuple[Any, Any]] = set()
    for place, port in enumerate(ports):
        here = f"spec.ports[{place}]"
        name, number, protocol = port.get("name") or "", port.get("port") or 0, port.get("protocol") or ""
        if name:
            yield from (invalid(f"{here}.name", name, text) for text in names.check_label(name))
            if name in used_names:
                yield duplicate(f"{here}.name", name)
            used_names.add(name)
        elif len(ports) > 1:
            yield required(f"{here}.name")
        yield from (invalid(f"{here}.port", number, text) for text in names.check_port_number(number))
        if protocol not in PROTOCOLS:
            yield not_supported(f"{here}.protocol", protocol, PROTOCOLS)
        yield from validate_port(port.get("targetPort", number), f"{here}.targetPort")
        if (application := port.get("appProtocol")) is not None:
            wrong = names.check_qualified_name(application)
            yield from (invalid(f"{here}.appProtocol", application, text) for text in wrong)
        node_port = port.get("nodePort") or 0
        if node_port and kind == "ClusterIP":
            yield forbidden(f"{here}.nodePort", "may not be used when `type` is 'ClusterIP'")
        if node_port and (protocol, node_port) in used_node_ports:
            yield duplicate(f"{here}.nodePort", node_port)
        if (protocol, number) in used:
            yield duplicate(here, _go_port(protocol, number))
        used.add((protocol, number))
        used_node_ports.add((protocol, node_port))


def _go_port(protocol: str, number: int) -> dict[str, Any]:
    """A port as Kubernetes' internal type prints it."""
    return {
        "Name": "",
        "Protocol": protocol,
        "AppProtocol": None,
        "Port": number,
        "TargetPort": 0,
        "NodePort": 0,
    }


def _validate_affinity(spec: Part) -> Iterator[FieldError]:
    if spec.get("sessionAffinity") == "None":
        if spec.get("sessionAffinityConfig") is not None:
            text = "must not be set when session affinity is None"
            yield forbidden("spec.sessionAffinityConfig", text)
    elif spec.get("sessionAffinity") == "ClientIP":
        seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds", 0)
        if not 0 < seconds <= 86400:
            path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            yield invalid(path, seconds, "must be greater than 0 and less than 86400")


def _validate_address(address: str, path: str) -> Iterator[FieldError]:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        yield invalid(path, address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def _validate_addresses(spec: Part) -> Iterator[FieldError]:
    address, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if address and not addresses:
        yield required("spec.clusterIPs")
    elif address and addresses[0] != address:
        yield invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")
    elif addresses and not address:
        yield invalid("spec.clusterIPs", addresses, "must be empty when `clusterIP` is not specified")
    seen: set[str] = set()
    for place, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in _FAMILIES:
            yield not_supported(f"spec.ipFamilies[{place}]", family, _FAMILIES)
        if family in seen:
            yield duplicate(f"spec.ipFamilies[{place}]", family)
        seen.add(family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        yield not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES)
    yield from _validate_address_list(addresses)


def _validate_address_list(addresses: list[str]) -> Iterator[FieldError]:
    wrong = []
    for place, one in enumerate(addresses):
        if place == 0 and one == "None":
            if len(addresses) > 1:
                wrong.append(invalid("spec.clusterIPs", addresses, "'None' must be the first and only value"))
        else:
            wrong += _validate_address(one, f"spec.clusterIPs[{place}]")
    yield from wrong
    if len(addresses) > 2:
        yield invalid("spec.clusterIPs", addresses, "may only hold up to 2 values")
    if len(addresses) > 1 and not wrong and len({":" in one for one in addresses}) == 1:
        yield invalid("spec.clusterIPs", addresses, "may specify no more than one IP for each IP family")


def _validate_address_change(spec: Part, before: Part) -> Iterator[FieldError]:
    if "ExternalName" in {spec.get("type"), before.get("type")}:
        return
    if _is_headless(spec) and _is_headless(before):
        return
    addresses, old = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    if old and not addresses:
        yield invalid("spec.clusterIPs[0]", addresses, "primary clusterIP can not be unset")
    for place, (one, other) in enumerate(zip(addresses, old, strict=False)):
        if one != other:
            yield invalid(f"spec.clusterIPs[{place}]", addresses, "may not change once set")


def _validate_policies(spec: Part, kind: str) -> Iterator[FieldError]:
    reachable = kind in {"LoadBalancer", "NodePort"} or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    external = spec.get("externalTrafficPolicy")
    if external and not reachable:
        text = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", external, text)
    elif reachable:
        yield from _listed(spec, "externalTrafficPolicy", _POLICIES)
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in _POLICIES:
        yield not_supported("spec.internalTrafficPolicy", internal, _POLICIES)
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        yield not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS)
    if kind != "LoadBalancer":
        for member in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(member) is not None:
                yield forbidden(f"spec.{member}", "may only be used when `type` is 'LoadBalancer'")
