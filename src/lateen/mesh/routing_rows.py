"""Rows of the kinds that route traffic: VirtualService, DestinationRule, Gateway, ServiceEntry.

Istio document -> row, or nothing when it cannot be read.

Invariants: specs are kept as their typed views, so that an edit outside of `spec` changes no row; `created` orders
objects where the oldest wins. A ServiceEntry is one service for each of its hosts.
Source: istio/api `networking/v1alpha3`; Istio's pilot/pkg/serviceregistry/serviceentry (conversion).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from lateen.api.codec import decode
from lateen.api.destination_rule import DestinationRule, DestinationRuleSpec
from lateen.api.gateway import Gateway, GatewaySpec
from lateen.api.service_entry import ServiceEntry, ServiceEntryPort, ServiceEntrySpec
from lateen.api.virtual_service import VirtualService, VirtualServiceSpec
from lateen.api.workload import WorkloadEntrySpec
from lateen.mesh.protocol import select_protocol
from lateen.mesh.rows import (
    PORT_TRANSLATION_OFF_LABEL,
    TLS_MODE_LABEL,
    EntryEndpoint,
    EntryHost,
    Resolution,
    ServicePort,
    ServiceRow,
    sort_labels,
)

S = TypeVar("S")

_RESOLUTIONS = {
    "NONE": Resolution.NONE,
    "STATIC": Resolution.ENDPOINTS,
    "DNS": Resolution.DNS,
    "DNS_ROUND_ROBIN": Resolution.DNS_ROUND_ROBIN,
    "DYNAMIC_DNS": Resolution.NONE,
}


class SpecRow(msgspec.Struct, frozen=True):
    """An object of which translation reads the whole spec."""

    created: str


class VirtualServiceRow(SpecRow, frozen=True):
    """A VirtualService."""

    spec: VirtualServiceSpec


class DestinationRuleRow(SpecRow, frozen=True):
    """A DestinationRule."""

    spec: DestinationRuleSpec


class GatewayRow(SpecRow, frozen=True):
    """A Gateway."""

    spec: GatewaySpec


def build_virtual_service_row(document: Mapping[str, Any]) -> VirtualServiceRow | None:
    """Return the row of a VirtualService."""
    found = decode(document, VirtualService).value
    return None if found is None else VirtualServiceRow(found.metadata.creation_timestamp or "", found.spec)


def build_destination_rule_row(document: Mapping[str, Any]) -> DestinationRuleRow | None:
    """Return the row of a DestinationRule."""
    found = decode(document, DestinationRule).value
    return None if found is None else DestinationRuleRow(found.metadata.creation_timestamp or "", found.spec)


def is_istio_gateway(document: Mapping[str, Any]) -> bool:
    """Whether a Gateway is Istio's, and not the Gateway API's of the same name."""
    return str(document.get("apiVersion", "networking.istio.io/v1")).startswith("networking.istio.io/")


def build_gateway_row(document: Mapping[str, Any]) -> GatewayRow | None:
    """Return the row of a Gateway."""
    found = decode(document, Gateway).value
    return None if found is None else GatewayRow(found.metadata.creation_timestamp or "", found.spec)


def build_entry_rows(document: Mapping[str, Any]) -> dict[EntryHost, ServiceRow]:
    """Return the services of a ServiceEntry, one for each host."""
    found = decode(document, ServiceEntry).value
    if found is None:
        return {}
    meta, spec = found.metadata, found.spec
    row = _build_entry_row(meta.creation_timestamp or "", spec)
    row = msgspec.structs.replace(row, port_translation=PORT_TRANSLATION_OFF_LABEL not in meta.labels)
    return {
        EntryHost("ServiceEntry", meta.namespace, meta.name, host): msgspec.structs.replace(row, host=host)
        for host in spec.hosts
    }


def _build_entry_row(created: str, spec: ServiceEntrySpec) -> ServiceRow:
    return ServiceRow(
        created=created,
        addresses=tuple(address for address in dict.fromkeys(spec.addresses) if is_subnet(address)),
        headless=False,
        external_name="",
        selector=sort_labels(spec.workload_selector.labels) if spec.workload_selector is not None else (),
        ports=tuple(_build_port(port) for port in spec.ports),
        publish_not_ready=False,
        export_to=tuple(sorted(spec.export_to)),
        resolution=_RESOLUTIONS[spec.resolution],
        external=spec.location == "MESH_EXTERNAL",
        endpoints=tuple(_build_endpoint(endpoint) for endpoint in spec.endpoints),
        subject_alt_names=spec.subject_alt_names,
    )


def is_subnet(text: str) -> bool:
    """Whether a text is an address or a CIDR."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _build_port(port: ServiceEntryPort) -> ServicePort:
    protocol = select_protocol(port.number, "", port.protocol or None)
    return ServicePort(port.name, port.number, protocol, port.target_port or port.number)


def _build_endpoint(entry: WorkloadEntrySpec) -> EntryEndpoint:
    return EntryEndpoint(
        address=entry.address,
        ports=tuple(sorted(entry.ports.items())),
        labels=sort_labels(entry.labels),
        locality=entry.locality,
        weight=entry.weight,
        service_account=entry.service_account,
        mutual_tls=entry.labels.get(TLS_MODE_LABEL) == "istio",
    )
