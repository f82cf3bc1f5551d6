"""Rows of what pods are reached by: Service, Endpoints, EndpointSlice, Ingress, NetworkPolicy and addresses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lateen.api.printing.layout import (
    NONE,
    UNKNOWN,
    UNSET,
    Document,
    Layout,
    age_of,
    columns,
    format_labels,
    format_selector,
    format_some,
    items,
    name_of,
    section,
)


def _balancer(document: Document) -> list[str]:
    ingress = items(document, "status", "loadBalancer", "ingress")
    return sorted({one.get("ip") or one.get("hostname") or "" for one in ingress} - {""})


def _external_address(service: Document) -> str:
    spec = section(service, "spec")
    own = ",".join(items(spec, "externalIPs"))
    match spec.get("type", "ClusterIP"):
        case "ClusterIP" | "NodePort":
            return own or NONE
        case "LoadBalancer":
            return ",".join(one for one in (*_balancer(service), own) if one) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case _:
            return UNKNOWN


def _service_port(port: Document) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


def _service(service: Document, now: datetime) -> list[Any]:
    spec = section(service, "spec")
    addresses = items(spec, "clusterIPs") or [spec.get("clusterIP") or NONE]
    return [
        name_of(service),
        spec.get("type", "ClusterIP"),
        addresses[0],
        _external_address(service),
        ",".join(map(_service_port, items(spec, "ports"))) or NONE,
        age_of(service, now),
        format_labels(section(spec, "selector")),
    ]


def _join(host: str, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _endpoints(endpoints: Document, now: datetime) -> list[Any]:
    found: list[str] = []
    for subset in items(endpoints, "subsets"):
        addresses = [one.get("ip", "") for one in items(subset, "addresses")]
        ports = [one.get("port") for one in items(subset, "ports")]
        found += [_join(one, port) for port in ports for one in addresses] if ports else addresses
    text = format_some(found, 3, empty="" if items(endpoints, "subsets") else NONE)
    return [name_of(endpoints), text, age_of(endpoints, now)]


def _endpoint_slice(endpoint_slice: Document, now: datetime) -> list[Any]:
    ports = [str(one.get("port", one.get("name", "*"))) for one in items(endpoint_slice, "ports")]
    addresses = [one for endpoint in items(endpoint_slice, "endpoints") for one in items(endpoint, "addresses")]
    return [
        name_of(endpoint_slice),
        endpoint_slice.get("addressType", ""),
        format_some(ports, 3, empty=UNSET),
        format_some(addresses, 3, empty=UNSET),
        age_of(endpoint_slice, now),
    ]


def _hosts(ingress: Document) -> str:
    rules = items(ingress, "spec", "rules")
    named: list[str] = []
    for rule in rules:
        if len(named) == 3:
            return f"{','.join(named)} + {len(rules) - 3} more..."
        if rule.get("host"):
            named.append(rule["host"])
    return ",".join(named) or "*"


def _ingress(ingress: Document, now: datetime) -> list[Any]:
    spec = section(ingress, "spec")
    return [
        name_of(ingress),
        spec.get("ingressClassName") or NONE,
        _hosts(ingress),
        ",".join(_balancer(ingress)),
        "80, 443" if items(spec, "tls") else "80",
        age_of(ingress, now),
    ]


def _ingress_class(ingress_class: Document, now: datetime) -> list[Any]:
    parameters = section(ingress_class, "spec", "parameters")
    kind = ".".join(one for one in (parameters.get("kind"), parameters.get("apiGroup")) if one)
    text = f"{kind}/{parameters.get('name', '')}" if parameters else NONE
    controller = section(ingress_class, "spec").get("controller", "")
    return [name_of(ingress_class), controller, text, age_of(ingress_class, now)]


def _network_policy(policy: Document, now: datetime) -> list[Any]:
    return [name_of(policy), format_selector(section(policy, "spec", "podSelector")), age_of(policy, now)]


def _address(address: Document, _now: datetime) -> list[Any]:
    parent = section(address, "spec", "parentRef")
    resource = ".".join(one for one in (parent.get("resource"), parent.get("group")) if one).lower()
    parts = [one for one in (resource, parent.get("namespace"), parent.get("name")) if one]
    return [name_of(address), "/".join(parts) or NONE]


def _service_range(service_range: Document, now: datetime) -> list[Any]:
    return [
        name_of(service_range),
        ",".join(items(service_range, "spec", "cidrs")),
        age_of(service_range, now),
    ]


LAYOUTS = {
    ("", "Service"): Layout(
        columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)), _service
    ),
    ("", "Endpoints"): Layout(columns("Name", "Endpoints", "Age"), _endpoints),
    ("discovery.k8s.io", "EndpointSlice"): Layout(
        columns("Name", "AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice
    ),
    ("networking.k8s.io", "Ingress"): Layout(columns("Name", "Class", "Hosts", "Address", "Ports", "Age"), _ingress),
    ("networking.k8s.io", "IngressClass"): Layout(columns("Name", "Controller", "Parameters", "Age"), _ingress_class),
    ("networking.k8s.io", "NetworkPolicy"): Layout(columns("Name", "Pod-Selector", "Age"), _network_policy),
    ("networking.k8s.io", "IPAddress"): Layout(columns("Name", "ParentRef"), _address),
    ("networking.k8s.io", "ServiceCIDR"): Layout(columns("Name", "CIDRs", "Age"), _service_range),
}
