"""DestinationRules: which one holds for a service, and what its policies come to for a subset and a port.

(host, service's namespace, viewer) -> DestinationRule; (rule, subset, port) -> TrafficPolicy.

| place | rules looked at, the first place with a match counts |
| --- | --- |
| 1 | those in the client's namespace, unless it is the root namespace |
| 2 | those in the service's namespace that are exported to the client |
| 3 | those in the root namespace that are exported to the client |

Within a place the most specific host counts; rules of one host are merged: subsets together, the first of a name, and
the policy of the oldest that has one. Policies: a port's settings replace those of the destination wholesale, except
for tunnel, PROXY protocol and retry budget; a subset's replace the destination's field by field.
Source: Istio's pilot/pkg/model (destination_rule.go, push_context.go, MergeSubsetTrafficPolicy); SEMANTICS 1.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from lateen.api.destination_rule import Subset, TrafficPolicy
from lateen.base.labels import matches
from lateen.base.names import ObjectRef
from lateen.incremental.query import query
from lateen.mesh.hostname import list_host_keys, list_wildcards
from lateen.mesh.indexes import DESTINATION_RULES_BY_HOST, DESTINATION_RULES_BY_WILDCARD, host_key
from lateen.mesh.inputs import DESTINATION_RULES
from lateen.mesh.routing_rows import DestinationRuleRow
from lateen.mesh.visibility import mesh_settings, sees

if TYPE_CHECKING:
    from lateen.incremental.database import Database

_PORT_FIELDS = ("load_balancer", "connection_pool", "outlier_detection", "tls")
_FIELDS = (*_PORT_FIELDS, "tunnel", "proxy_protocol", "retry_budget")
_NO_POLICY = TrafficPolicy()


class DestinationRule(msgspec.Struct, frozen=True, kw_only=True):
    """What all the DestinationRules of one host in one namespace say together."""

    refs: tuple[ObjectRef, ...]
    """The objects, oldest first."""
    policy: TrafficPolicy | None
    subsets: tuple[Subset, ...]


@query
def find_rules(db: Database, host: str, namespace: str, viewer: str) -> tuple[ObjectRef, ...]:
    """Return the DestinationRules that hold for a service of a namespace, oldest first."""
    root = mesh_settings(db).root_namespace
    places = ([viewer] if viewer and viewer != root else []) + [namespace, root]
    for place in dict.fromkeys(places):
        found = _find_in(db, host, place, viewer)
        if found:
            return found
    return ()


def _find_in(db: Database, host: str, namespace: str, viewer: str) -> tuple[ObjectRef, ...]:
    settings = mesh_settings(db)
    for key in list_host_keys(host, settings.short_name_domain):
        found = _select(db, db.lookup(DESTINATION_RULES_BY_HOST, (namespace, key)), namespace, viewer)
        if found:
            return found
    if not db.lookup(DESTINATION_RULES_BY_WILDCARD, namespace):
        return ()
    for wildcard in list_wildcards(host):
        key = host_key(wildcard, namespace)
        found = _select(db, db.lookup(DESTINATION_RULES_BY_HOST, (namespace, key)), namespace, viewer)
        if found:
            return found
    return ()


def _select(db: Database, refs: Iterable[ObjectRef], namespace: str, viewer: str) -> tuple[ObjectRef, ...]:
    by_default = mesh_settings(db).destination_rule_export_to
    rows = ((ref, db.get(DESTINATION_RULES, ref)) for ref in refs)
    seen = [
        (row.created, ref)
        for ref, row in rows
        if row is not None and sees(row.spec.export_to, by_default, namespace, viewer)
    ]
    return tuple(ref for _, ref in sorted(seen))


@query
def merge_rules(
    db: Database, refs: tuple[ObjectRef, ...], client: tuple[tuple[str, str], ...] | None = None
) -> DestinationRule | None:
    """Return what the rules of one host say together; those with a selector hold for clients that it finds only."""
    rows = [(ref, row) for ref in refs if (row := db.get(DESTINATION_RULES, ref)) is not None]
    rows = [(ref, row) for ref, row in rows if _holds(row, client)]
    if not rows:
        return None
    subsets: dict[str, Subset] = {}
    for subset in (subset for _, row in rows for subset in row.spec.subsets):
        subsets.setdefault(subset.name, subset)
    policies = [row.spec.traffic_policy for _, row in rows if row.spec.traffic_policy is not None]
    return DestinationRule(
        refs=tuple(ref for ref, _ in rows),
        policy=policies[0] if policies else None,
        subsets=tuple(subsets.values()),
    )


def _holds(row: DestinationRuleRow, client: tuple[tuple[str, str], ...] | None) -> bool:
    selector = row.spec.workload_selector
    if selector is None:
        return True
    return client is not None and matches(selector.match_labels, dict(client))


def find_subset(rule: DestinationRule | None, name: str) -> Subset | None:
    """Return the subset of a name."""
    return None if rule is None else next((one for one in rule.subsets if one.name == name), None)


def select_policy(rule: DestinationRule | None, subset: Subset | None, port: int) -> TrafficPolicy:
    """Return the policy that holds for a port of a subset, or of the whole service."""
    policy = _select_port(None if rule is None else rule.policy, port)
    if subset is None or subset.traffic_policy is None:
        return policy
    own = _select_port(subset.traffic_policy, port)
    fields = {name: getattr(own, name) for name in _FIELDS if getattr(own, name) is not None}
    return msgspec.structs.replace(policy, **fields)


def _select_port(policy: TrafficPolicy | None, port: int) -> TrafficPolicy:
    if policy is None:
        return _NO_POLICY
    for settings in policy.port_level_settings:
        if settings.port is not None and settings.port.number == port:
            fields: Mapping[str, object] = {name: getattr(settings, name) for name in _PORT_FIELDS}
            return msgspec.structs.replace(policy, port_level_settings=(), **fields)
    return msgspec.structs.replace(policy, port_level_settings=())
