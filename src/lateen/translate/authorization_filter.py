"""The filters that decide who may do what, in the order in which they run.

Namespace and labels of a workload -> filters of requests or of connections.

| order | policies | why there |
| --- | --- | --- |
| 1 | CUSTOM | the authorizer's refusal holds whatever the mesh's own policies say |
| 2 | AUDIT | it decides nothing, and sees what is refused next |
| 3 | DENY | beats every ALLOW |
| 4 | ALLOW | with any of them, what none matches is refused |

Source: Istio's pilot/pkg/security/authz/builder; SEMANTICS 1.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lateen.mesh.authz import Authorization, authorization
from lateen.mesh.rows import Labels
from lateen.mesh.visibility import mesh_settings
from lateen.translate.ext_authz_filter import build_ext_authz
from lateen.translate.filter import NamedFilters
from lateen.translate.rbac_filter import Action, build_rbac

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class Guards(msgspec.Struct, frozen=True):
    """The filters of a workload's policies, and how paths are normalised before these compare them."""

    requests: NamedFilters
    streams: NamedFilters
    normalization: str


def build_guards(db: Database, namespace: str, labels: Labels) -> Guards:
    """Return the filters of the policies that hold for a workload."""
    found = authorization(db, namespace, labels)
    return Guards(
        requests=build_authorization(db, found, namespace, tcp=False),
        streams=build_authorization(db, found, namespace, tcp=True),
        normalization=mesh_settings(db).path_normalization,
    )


def build_authorization(db: Database, policies: Authorization, viewer: str, *, tcp: bool) -> NamedFilters:
    """Return the filters of policies; `viewer` is the namespace of the workload that they hold for."""
    settings = mesh_settings(db)
    domains = (settings.trust_domain, *settings.trust_domain_aliases)
    return (
        *build_ext_authz(db, policies.custom, domains, viewer, tcp=tcp),
        *build_rbac(policies.audit, Action.LOG, domains, tcp=tcp),
        *build_rbac(policies.deny, Action.DENY, domains, tcp=tcp),
        *build_rbac(policies.allow, Action.ALLOW, domains, tcp=tcp),
    )
