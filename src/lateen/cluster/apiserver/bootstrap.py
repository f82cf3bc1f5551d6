"""What a new cluster begins with: system namespaces, the Service `kubernetes` with its endpoint, Istio's CRDs.

Runs at every start before the first request and puts what is missing; what a user changed stays. `port` is
where the server listens behind the Service: the bridge of the pods relays it. Source: kube-apiserver's
system namespaces and default service reconcilers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lateen.cluster.apiserver.custom_resources import CRDS
from lateen.cluster.apiserver.hooks import Hook, build_object, put_changed, put_if_missing
from lateen.cluster.apiserver.strategy import complete
from lateen.cluster.revisions import Key
from lateen.cluster.store import Store

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "istio-system")
SERVICE_ADDRESS = "10.96.0.1"
BRIDGE_ADDRESS = "10.244.0.1"
"""Where pods reach the server: its cluster IP, and the node's bridge as the endpoint behind it."""

_SERVICE_PORT = 443

Document = dict[str, Any]


async def create_system_objects(
    store: Store, hooks: Mapping[str, Hook], *, port: int, definitions: Iterable[Document] = ()
) -> None:
    """Put the objects of the system that are missing."""
    for name in SYSTEM_NAMESPACES:
        namespace = build_object("v1", "Namespace", name)
        complete("namespaces", namespace)
        await put_if_missing(store, Key("namespaces", "", name), namespace)
    for revision in store.list_objects("namespaces"):
        await hooks["namespaces"].written(revision.key, revision.document())
    await _put_service(store, hooks, port)
    for definition in definitions:
        await _put_definition(store, hooks[CRDS], definition)


async def _put_service(store: Store, hooks: Mapping[str, Hook], port: int) -> None:
    service = build_object("v1", "Service", "kubernetes", "default")
    service["metadata"]["labels"] = {"component": "apiserver", "provider": "kubernetes"}
    service["spec"] = {
        "clusterIP": SERVICE_ADDRESS,
        "clusterIPs": [SERVICE_ADDRESS],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "https", "port": _SERVICE_PORT, "protocol": "TCP", "targetPort": port}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    service["status"] = {"loadBalancer": {}}
    key = Key("services", "default", "kubernetes")
    if store.latest(key) is None:
        hooks["services"].complete(key, service, None)
    await put_if_missing(store, key, service)
    endpoints = build_object("v1", "Endpoints", "kubernetes", "default")
    endpoints["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    endpoints["subsets"] = [
        {"addresses": [{"ip": BRIDGE_ADDRESS}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}
    ]
    await put_changed(store, Key("endpoints", "default", "kubernetes"), endpoints)
    endpoint_slice = build_object("discovery.k8s.io/v1", "EndpointSlice", "kubernetes", "default")
    endpoint_slice["metadata"] |= {"generation": 1, "labels": {"kubernetes.io/service-name": "kubernetes"}}
    endpoint_slice |= {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [BRIDGE_ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    await put_changed(store, Key("endpointslices.discovery.k8s.io", "default", "kubernetes"), endpoint_slice)


async def _put_definition(store: Store, hook: Hook, definition: Document) -> None:
    name = definition["metadata"]["name"]
    key = Key(CRDS, "", name)
    current = store.latest(key)
    stored = current.document() if current is not None else None
    document = build_object("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
    document["metadata"] = {**definition["metadata"], **document["metadata"], "generation": 1}
    document["spec"] = {"conversion": {"strategy": "None"}} | definition["spec"]
    if stored is not None:
        if stored["metadata"].get("deletionTimestamp"):
            return
        document["metadata"] = stored["metadata"]
        document["status"] = stored.get("status")
    if errors := hook.complete(key, document, stored):
        raise AssertionError(f"a CRD of ours is not valid: {errors[0]}")
    if stored is not None and document["spec"] == stored["spec"]:
        return
    await store.put(key, document, expected=current.version if current is not None else None)
    await hook.written(key, document)
