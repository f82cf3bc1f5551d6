"""The clusters that a scope sees: those of its services, a tree by namespace, and those for what is not declared.

Scope -> clusters.

Invariants: the clusters of a service are computed for the DestinationRules that hold for it, not for who sees them, so
that all namespaces without rules of their own share them.
Source: Istio's pilot/pkg/networking/core/cluster.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.incremental.query import query
from lateen.mesh.destination_rule import find_rules
from lateen.mesh.service import find_service
from lateen.mesh.visibility import service_namespaces, visible_services
from lateen.translate.cluster import fixed_clusters
from lateen.translate.service_cluster import service_clusters
from lateen.xds.resources import Resource

if TYPE_CHECKING:
    from lateen.incremental.database import Database


@query
def outbound_clusters(db: Database, viewer: str) -> tuple[Resource, ...]:
    """Return every outbound cluster that a viewer sees."""
    found = [cluster for ns in service_namespaces(db) for cluster in namespace_clusters(db, ns, viewer)]
    return (*found, *fixed_clusters(db))


@query
def namespace_clusters(db: Database, namespace: str, viewer: str) -> tuple[Resource, ...]:
    """Return the clusters of the services of one namespace that a viewer sees."""
    clusters: list[Resource] = []
    for ref in visible_services(db, namespace, viewer):
        service = find_service(db, ref)
        if service is not None:
            clusters += service_clusters(db, ref, find_rules(db, service.host, namespace, viewer))
    return tuple(clusters)
