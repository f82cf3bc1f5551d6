"""Consistent hashing: what of a request chooses its backend.

Destination -> `RouteAction.HashPolicy`, from the load balancer settings of its DestinationRule.

Source: Istio's pilot/pkg/networking/core/route (consistentHashToHashPolicy); Envoy's route_components.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lateen.api.networking import Destination
from lateen.api.traffic_policy import ConsistentHashLB
from lateen.mesh.destination_rule import find_rules, find_subset, merge_rules, select_policy
from lateen.mesh.service import find_service_by_host
from lateen.translate.socket_address import build_duration

if TYPE_CHECKING:
    from lateen.incremental.database import Database


def find_hash_policy(db: Database, destination: Destination, viewer: str) -> dict[str, Any] | None:
    """Return what of a request chooses the destination's backend, None when nothing does."""
    service = find_service_by_host(db, destination.host, viewer)
    if service is None:
        return None
    port = destination.port.number if destination.port is not None else service.ports[0].number if service.ports else 0
    rule = merge_rules(db, find_rules(db, service.host, service.ref.namespace, viewer))
    policy = select_policy(rule, find_subset(rule, destination.subset), port)
    balancer = policy.load_balancer
    return None if balancer is None or balancer.consistent_hash is None else build_hash_policy(balancer.consistent_hash)


def build_hash_policy(consistent_hash: ConsistentHashLB) -> dict[str, Any] | None:
    """Return the policy of consistent hashing, None when it names nothing to hash."""
    if consistent_hash.http_header_name is not None:
        return {"header": {"header_name": consistent_hash.http_header_name}}
    cookie = consistent_hash.http_cookie
    if cookie is not None:
        fields: dict[str, Any] = {"name": cookie.name, "path": cookie.path}
        if cookie.ttl is not None:
            fields["ttl"] = build_duration(cookie.ttl)
        fields["attributes"] = [{"name": one.name, "value": one.value} for one in cookie.attributes]
        return {"cookie": fields}
    if consistent_hash.use_source_ip:
        return {"connection_properties": {"source_ip": True}}
    if consistent_hash.http_query_parameter_name is not None:
        return {"query_parameter": {"name": consistent_hash.http_query_parameter_name}}
    return None
