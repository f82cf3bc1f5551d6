"""What a key means: (state, key, present) -> the actions of the controller that the key is for."""

from __future__ import annotations

from datetime import datetime

from lateen.api.core import Service
from lateen.api.objects import labels_of, name_of
from lateen.api.pod import Pod
from lateen.cluster.controllers import replica_sets
from lateen.cluster.controllers.actions import Action
from lateen.cluster.controllers.deployments import reconcile_deployment
from lateen.cluster.controllers.endpoint_slices import reconcile_slices
from lateen.cluster.controllers.endpoints import reconcile_endpoints
from lateen.cluster.controllers.jobs import reconcile_job
from lateen.cluster.controllers.load_balancers import reconcile_load_balancer
from lateen.cluster.controllers.namespaces import reconcile_namespace
from lateen.cluster.controllers.pods import reconcile_pod
from lateen.cluster.controllers.replica_sets import reconcile_replica_set
from lateen.cluster.controllers.state import ENDPOINTS, NODE, POD, SERVICE, State
from lateen.cluster.controllers.triggers import ZONE_LABEL, Key, Work

MAKES_PODS = frozenset({Work.REPLICA_SET, Work.JOB})
"""Work that other objects than its own may refuse: accounts, webhooks."""


def reconcile(state: State, key: Key, now: datetime) -> list[Action]:
    """What makes true what the key stands for."""
    namespace, name = key.namespace, key.name
    match key.work:
        case Work.NAMESPACE:
            return reconcile_namespace(state, name)
        case Work.POD:
            return reconcile_pod(state, namespace, name)
        case Work.SERVICE:
            return _reconcile_endpoints(state, namespace, name)
        case Work.LOAD_BALANCER:
            return reconcile_load_balancer(state, namespace, name)
        case Work.DEPLOYMENT:
            return reconcile_deployment(state, namespace, name, now)
        case Work.REPLICA_SET:
            return reconcile_replica_set(state, namespace, name, now)
        case Work.JOB:
            return reconcile_job(state, namespace, name, now)


def report_failure(state: State, key: Key, message: str, now: datetime) -> list[Action]:
    """What tells the user that the actions of a key were refused."""
    if key.work is Work.REPLICA_SET:
        return replica_sets.report_failure(state, key.namespace, key.name, message, now)
    return []


def _reconcile_endpoints(state: State, namespace: str, name: str) -> list[Action]:
    service = state.find_view(SERVICE, Service, namespace, name)
    selector = (service.spec.selector if service is not None else None) or {}
    names = state.find_names(POD, namespace, selector.items()) if selector else []
    pods = list(state.views(POD, Pod, namespace, names))
    slices = state.labelled_slices(namespace, name)
    zones = {name_of(node): labels_of(node).get(ZONE_LABEL, "") for node in state.documents(NODE, "")}
    found = state.find(ENDPOINTS, namespace, name)
    return [*reconcile_slices(service, pods, slices, zones), *reconcile_endpoints(service, pods, found)]
