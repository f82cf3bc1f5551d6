"""Which AuthorizationPolicies hold for a workload.

Namespace and labels of a workload -> Authorization.

| where a policy is | for whom |
| --- | --- |
| the root namespace, without selector | every workload of the mesh |
| the root namespace, with selector | the workloads of the mesh that carry the labels |
| another namespace | the workloads there, those that carry the labels if it has a selector |

Invariants: policies add up, none overrides another; the value depends on the policies of two namespaces only, and
equal values cut recomputation off, so that an edit reaches the workloads that it is for.
Source: Istio's pilot/pkg/model/authorization.go; SEMANTICS 1.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.api.security import Rule
from lateen.base.labels import matches
from lateen.incremental.query import query
from lateen.mesh.indexes import AUTHORIZATION_POLICIES_BY_NAMESPACE
from lateen.mesh.inputs import AUTHORIZATION_POLICIES
from lateen.mesh.rows import Labels
from lateen.mesh.visibility import mesh_settings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that holds for a workload."""

    namespace: str
    name: str
    rules: tuple[Rule, ...]
    provider: str = ""
    dry_run: bool = False


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """The policies that hold for a workload, by what they do, in the order of their names, the root namespace first."""

    custom: tuple[Policy, ...] = ()
    audit: tuple[Policy, ...] = ()
    deny: tuple[Policy, ...] = ()
    allow: tuple[Policy, ...] = ()


@query
def authorization(db: Database, namespace: str, labels: Labels) -> Authorization:
    """Return the policies that hold for the workloads of a namespace with these labels."""
    found: dict[str, list[Policy]] = {"CUSTOM": [], "AUDIT": [], "DENY": [], "ALLOW": []}
    carried = dict(labels)
    for level in dict.fromkeys((mesh_settings(db).root_namespace, namespace)):
        for ref in db.lookup(AUTHORIZATION_POLICIES_BY_NAMESPACE, level):
            row = db.get(AUTHORIZATION_POLICIES, ref)
            if row is None or not matches(dict(row.selector), carried):
                continue
            policy = Policy(
                namespace=ref.namespace, name=ref.name, rules=row.rules, provider=row.provider, dry_run=row.dry_run
            )
            found[row.action].append(policy)
    return Authorization(
        custom=tuple(found["CUSTOM"]),
        audit=tuple(found["AUDIT"]),
        deny=tuple(found["DENY"]),
        allow=tuple(found["ALLOW"]),
    )
