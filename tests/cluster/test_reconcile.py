"""What the controllers decide, as tables: state -> actions, without an API server."""

from collections.abc import Mapping
from typing import Any

import pytest

from lateen.api.codec import decode
from lateen.api.core import Service
from lateen.api.objects import JsonObject
from lateen.api.pod import Pod
from lateen.cluster.controllers.actions import Action, Create, Delete, Empty, Update
from lateen.cluster.controllers.endpoint_slices import reconcile_slices
from lateen.cluster.controllers.endpoints import reconcile_endpoints
from lateen.cluster.controllers.namespaces import finish_namespace, reconcile_namespace
from lateen.cluster.controllers.pods import reconcile_pod
from lateen.cluster.controllers.state import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    State,
)
from lateen.cluster.controllers.triggers import Key, Work, find_work
from lateen.kube.informer import Change, ChangeType


def build_service(**spec: Any) -> Service:
    document = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "service-uid", "labels": {"team": "a"}},
        "spec": {
            "clusterIP": "10.96.0.5",
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            **spec,
        },
    }
    service = decode(document, Service).value
    assert service is not None
    return service


def pod_document(name: str = "web-1", *, ready: bool = True, **parts: Any) -> JsonObject:
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"app": "web"}}
        | parts.get("metadata", {}),
        "spec": {"nodeName": "lateen", "containers": [{"name": "web", "ports": parts.get("ports", [])}]}
        | parts.get("spec", {}),
        "status": {
            "phase": "Running",
            "podIP": "10.244.0.7",
            "podIPs": [{"ip": "10.244.0.7"}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        | parts.get("status", {}),
    }


def build_pod(name: str = "web-1", **parts: Any) -> Pod:
    pod = decode(pod_document(name, **parts), Pod).value
    assert pod is not None
    return pod


def endpoints_of(actions: list[Action]) -> list[JsonObject]:
    return [
        endpoint
        for action in actions
        if isinstance(action, Create | Update)
        for endpoint in action.document["endpoints"]
    ]


def store(slices: list[JsonObject], actions: list[Action]) -> list[JsonObject]:
    """The slices after the actions."""
    found = {document["metadata"]["name"]: document for document in slices}
    for action in actions:
        match action:
            case Create(_, document) | Update(_, document):
                name = document["metadata"]["name"]
                metadata = {"uid": f"uid-{name}", **document["metadata"]}
                found[name] = {**document, "metadata": metadata}
            case Delete(_, _, name, _):
                del found[name]
    return list(found.values())


DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("pod", "service", "conditions"),
    [
        ({}, {}, (True, True, False)),
        ({"ready": False}, {}, (False, False, False)),
        ({"metadata": DELETED}, {}, (False, True, True)),
        ({"metadata": DELETED, "ready": False}, {}, (False, False, True)),
        ({"ready": False}, {"publishNotReadyAddresses": True}, (True, False, False)),
        ({"metadata": DELETED}, {"publishNotReadyAddresses": True}, (True, True, True)),
        ({"status": {"phase": "Succeeded"}}, {}, None),
        ({"status": {"phase": "Failed"}}, {}, None),
        ({"status": {"podIP": "", "podIPs": []}}, {}, None),
        ({"status": {"podIP": "fd00::1", "podIPs": [{"ip": "fd00::1"}]}}, {}, None),
        ({"metadata": {"labels": {"app": "db"}}}, {}, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_conditions(pod: Any, service: Any, conditions: tuple[bool, bool, bool] | None) -> None:
    found = endpoints_of(reconcile_slices(build_service(**service), [build_pod(**pod)], [], {}))
    expected = [] if conditions is None else [dict(zip(("ready", "serving", "terminating"), conditions, strict=True))]
    assert [endpoint["conditions"] for endpoint in found] == expected


NAMED = [{"name": "http", "containerPort": 8081}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]


@pytest.mark.parametrize(
    ("port", "ports", "number"),
    [
        ({"targetPort": 8080}, [], 8080),
        ({}, [], 80),
        ({"targetPort": "http"}, NAMED, 8081),
        ({"targetPort": "missing"}, NAMED, None),
        ({"targetPort": "dns"}, NAMED, None),
        ({"targetPort": "dns", "protocol": "UDP"}, NAMED, 53),
    ],
)
def test_target_ports(port: dict[str, Any], ports: list[Any], number: int | None) -> None:
    service = build_service(ports=[{"name": "p", "port": 80, **port}])
    (action,) = reconcile_slices(service, [build_pod(ports=ports)], [], {})
    assert isinstance(action, Create)
    protocol = port.get("protocol", "TCP")
    expected = [] if number is None else [{"name": "p", "port": number, "protocol": protocol}]
    assert action.document["ports"] == expected


def test_a_port_of_a_native_sidecar_counts() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "ports": NAMED}
    pod = build_pod(spec={"initContainers": [sidecar]})
    service = build_service(ports=[{"name": "p", "port": 80, "targetPort": "http", "appProtocol": "grpc"}])
    (action,) = reconcile_slices(service, [pod], [], {})
    assert isinstance(action, Create)
    assert action.document["ports"] == [{"name": "p", "port": 8081, "protocol": "TCP", "appProtocol": "grpc"}]


def test_a_new_slice_is_what_kubernetes_would_write() -> None:
    pod = build_pod(spec={"hostname": "web-1", "subdomain": "web"})
    (action,) = reconcile_slices(build_service(clusterIP="None"), [pod], [], {"lateen": "zone-a"})
    assert isinstance(action, Create)
    name = action.document["metadata"].pop("name")
    assert name.startswith("web-")
    assert len(name) == len("web-") + 5
    assert action.document == {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop",
            "labels": {
                "team": "a",
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "service.kubernetes.io/headless": "",
            },
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": "web",
                    "uid": "service-uid",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.244.0.7"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "uid-web-1"},
                "nodeName": "lateen",
                "zone": "zone-a",
                "hostname": "web-1",
            }
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


@pytest.mark.parametrize(
    "spec", [{"selector": None}, {"selector": {}}, {"type": "ExternalName"}], ids=["none", "empty", "external"]
)
def test_a_service_that_selects_nothing_is_left_to_its_owner(spec: dict[str, Any]) -> None:
    assert reconcile_slices(build_service(**spec), [build_pod()], [], {}) == []
    assert reconcile_endpoints(build_service(**spec), [build_pod()], None) == []


def test_slices_hold_a_hundred_and_change_little() -> None:
    service = build_service()
    pods = [build_pod(f"web-{number:03}") for number in range(250)]
    slices = store([], reconcile_slices(service, pods, [], {}))
    assert sorted(len(found["endpoints"]) for found in slices) == [50, 100, 100]
    assert len({found["metadata"]["name"] for found in slices}) == 3
    assert reconcile_slices(service, pods, slices, {}) == []

    without = pods[:100] + pods[101:]
    (update,) = reconcile_slices(service, without, slices, {})
    assert isinstance(update, Update)
    slices = store(slices, [update])
    (update,) = reconcile_slices(service, [*without, build_pod("new")], slices, {})
    assert isinstance(update, Update), "the gap is filled"
    slices = store(slices, [update])
    actions = reconcile_slices(service, [build_pod("last")], slices, {})
    assert sum(isinstance(action, Delete) for action in actions) == 2
    slices = store(slices, actions)
    assert [endpoint["targetRef"]["name"] for endpoint in slices[0]["endpoints"]] == ["last"]


def test_pods_with_other_ports_have_slices_of_their_own() -> None:
    service = build_service(ports=[{"name": "http", "port": 80, "targetPort": "http"}])
    pods = [
        build_pod(f"web-{number}", ports=[{"name": "http", "containerPort": 8080 + number % 2}]) for number in range(4)
    ]
    slices = store([], reconcile_slices(service, pods, [], {}))
    found = {
        document["ports"][0]["port"]: [endpoint["targetRef"]["name"] for endpoint in document["endpoints"]]
        for document in slices
    }
    assert found == {8080: ["web-0", "web-2"], 8081: ["web-1", "web-3"]}


def test_a_changed_port_reuses_the_slice() -> None:
    slices = store([], reconcile_slices(build_service(), [build_pod()], [], {}))
    service = build_service(ports=[{"name": "http", "port": 80, "targetPort": 9090}])
    (update,) = reconcile_slices(service, [build_pod()], slices, {})
    assert isinstance(update, Update)
    assert update.document["metadata"]["name"] == slices[0]["metadata"]["name"]
    assert update.document["ports"][0]["port"] == 9090


def test_both_families_have_slices() -> None:
    addresses = [{"ip": "10.244.0.7"}, {"ip": "fd00::7"}]
    service = build_service(ipFamilies=["IPv4", "IPv6"])
    slices = store([], reconcile_slices(service, [build_pod(status={"podIPs": addresses})], [], {}))
    assert {found["addressType"]: found["endpoints"][0]["addresses"] for found in slices} == {
        "IPv4": ["10.244.0.7"],
        "IPv6": ["fd00::7"],
    }
    (deleted,) = reconcile_slices(build_service(), [build_pod(status={"podIPs": addresses})], slices, {})
    assert isinstance(deleted, Delete)


def test_slices_of_others_are_never_touched() -> None:
    (own,) = store([], reconcile_slices(build_service(), [build_pod()], [], {}))
    labels = {**own["metadata"]["labels"], "endpointslice.kubernetes.io/managed-by": "somebody"}
    foreign = {**own, "metadata": {**own["metadata"], "labels": labels}}
    assert reconcile_slices(None, [], [foreign], {}) == []
    name = own["metadata"]["name"]
    assert reconcile_slices(None, [], [own], {}) == [Delete(ENDPOINT_SLICE, "shop", name, f"uid-{name}")]


def test_endpoints_keep_ready_and_not_ready_apart() -> None:
    pods = [build_pod("a"), build_pod("b", ready=False), build_pod("c", metadata={**DELETED, "labels": {"app": "web"}})]
    (action,) = reconcile_endpoints(build_service(), pods, None)
    assert isinstance(action, Create)
    (subset,) = action.document["subsets"]
    assert [address["targetRef"]["name"] for address in subset["addresses"]] == ["a"]
    assert [address["targetRef"]["name"] for address in subset["notReadyAddresses"]] == ["b"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert reconcile_endpoints(build_service(), pods, action.document) == []
    (update,) = reconcile_endpoints(build_service(), pods[:1], action.document)
    assert isinstance(update, Update)
    (deleted,) = reconcile_endpoints(None, [], {**action.document})
    assert isinstance(deleted, Delete)
    assert reconcile_endpoints(None, [], {"metadata": {"name": "web", "namespace": "shop"}}) == []


def build_state(*objects: tuple[Any, JsonObject]) -> State:
    state = State(root_certificate="PEM")
    for kind, document in objects:
        state.put(kind, document)
    return state


ALIVE = {"metadata": {"name": "shop"}, "spec": {"finalizers": ["kubernetes"]}}
ENDING = {"metadata": {"name": "shop", **DELETED}, "spec": {"finalizers": ["kubernetes"]}}
ENDED = {"metadata": {"name": "shop", **DELETED}, "spec": {"finalizers": ["example.com/own"]}}
ACCOUNT = {"metadata": {"name": "default", "namespace": "shop"}}
CERTIFICATE = {"metadata": {"name": "kube-root-ca.crt", "namespace": "shop"}, "data": {"ca.crt": "PEM"}}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (build_state(), []),
        (build_state((NAMESPACE, ALIVE)), [(Create, "default"), (Create, "kube-root-ca.crt")]),
        (build_state((NAMESPACE, ALIVE), (SERVICE_ACCOUNT, ACCOUNT), (CONFIG_MAP, CERTIFICATE)), []),
        (
            build_state(
                (NAMESPACE, ALIVE), (SERVICE_ACCOUNT, ACCOUNT), (CONFIG_MAP, {**CERTIFICATE, "data": {"ca.crt": "old"}})
            ),
            [(Update, "kube-root-ca.crt")],
        ),
        (build_state((NAMESPACE, ENDING), (POD, pod_document("a"))), [(Delete, "a")]),
        (build_state((NAMESPACE, ENDING), (POD, pod_document("a", metadata=DELETED))), []),
        (build_state((NAMESPACE, ENDING)), [(Empty, "shop")]),
        (build_state((NAMESPACE, ENDED)), []),
    ],
    ids=["gone", "new", "complete", "old authority", "pods first", "pods ending", "empty it", "not ours to end"],
)
def test_namespaces(state: State, expected: list[tuple[type[Action], str]]) -> None:
    assert [(type(action), name_in(action)) for action in reconcile_namespace(state, "shop")] == expected


def name_in(action: Action) -> str:
    match action:
        case Create(_, document) | Update(_, document):
            return str(document["metadata"]["name"])
        case Delete(_, _, name, _):
            return name
        case Empty(namespace):
            return namespace


def test_an_emptied_namespace_is_finalized() -> None:
    (update,) = finish_namespace({**ENDING, "spec": {"finalizers": ["example.com/own", "kubernetes"]}}, {})
    assert isinstance(update, Update)
    assert (update.subresource, update.document["spec"]["finalizers"]) == ("finalize", ["example.com/own"])


def test_a_namespace_that_is_not_empty_says_what_it_holds_once() -> None:
    (update,) = finish_namespace(ENDING, {"secrets": 2, "configmaps": 1})
    assert isinstance(update, Update)
    (condition,) = update.document["status"]["conditions"]
    assert condition["message"] == (
        "Some resources are remaining: configmaps has 1 resource instances, secrets has 2 resource instances"
    )
    assert finish_namespace(update.document, {"secrets": 2, "configmaps": 1}) == []


NODE_DOCUMENT = {"metadata": {"name": "lateen"}}


@pytest.mark.parametrize(
    ("pod", "node", "cleared"),
    [
        ({"metadata": DELETED}, True, False),
        ({"metadata": DELETED}, False, True),
        ({"metadata": DELETED, "spec": {"nodeName": ""}}, True, True),
        ({}, False, False),
    ],
)
def test_pods_without_a_node_are_cleared_away(pod: Any, node: bool, cleared: bool) -> None:
    state = build_state((POD, pod_document("a", **pod)), *([(NODE, NODE_DOCUMENT)] if node else []))
    expected = [Delete(POD, "shop", "a", "uid-a", now=True)] if cleared else []
    assert reconcile_pod(state, "shop", "a") == expected


def change(kind: Any, old: JsonObject | None, new: JsonObject | None) -> Change:
    metadata: Mapping[str, str] = (new or old or {})["metadata"]
    key = (metadata.get("namespace", ""), metadata["name"])
    type_ = ChangeType.ADDED if old is None else ChangeType.DELETED if new is None else ChangeType.MODIFIED
    return Change(type_, kind, key, old, new)  # type: ignore[arg-type]


SERVICE_DOCUMENT = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"selector": {"app": "web", "tier": "front"}},
}
FRONT = {"labels": {"app": "web", "tier": "front", "x": "y"}}


@pytest.mark.parametrize(
    ("found", "keys"),
    [
        (change(POD, None, pod_document("a", metadata=FRONT)), {(Work.SERVICE, "shop", "web")}),
        (change(POD, None, pod_document("a")), set()),
        (
            change(POD, pod_document("a", metadata=FRONT), pod_document("a")),
            {(Work.SERVICE, "shop", "web")},
        ),
        (
            change(POD, pod_document("a", metadata=FRONT), None),
            {(Work.SERVICE, "shop", "web"), (Work.NAMESPACE, "", "shop")},
        ),
        (change(POD, None, pod_document("a", metadata=DELETED)), {(Work.POD, "shop", "a")}),
        (change(NAMESPACE, None, ALIVE), {(Work.NAMESPACE, "", "shop")}),
        (change(SERVICE_ACCOUNT, ACCOUNT, None), {(Work.NAMESPACE, "", "shop")}),
        (
            change(SERVICE, None, SERVICE_DOCUMENT),
            {(Work.SERVICE, "shop", "web"), (Work.LOAD_BALANCER, "shop", "web")},
        ),
        (change(NODE, NODE_DOCUMENT, NODE_DOCUMENT), set()),
        (change(NODE, NODE_DOCUMENT, None), {(Work.POD, "shop", "b")}),
        (
            change(NODE, None, {"metadata": {"name": "lateen", "labels": {"topology.kubernetes.io/zone": "a"}}}),
            {(Work.SERVICE, "shop", "web")},
        ),
    ],
)
def test_a_change_makes_the_work_that_it_touches(found: Change, keys: set[tuple[Work, str, str]]) -> None:
    state = build_state((SERVICE, SERVICE_DOCUMENT), (NAMESPACE, ALIVE), (POD, pod_document("b")))
    assert set(find_work(state, found)) == {Key(*key) for key in keys}


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    def version(number: str, uid: str = "u") -> JsonObject:
        return {"metadata": {"name": "a", "namespace": "shop", "uid": uid, "resourceVersion": number}}

    state = build_state((POD, version("10")), (POD, version("9")))
    assert state.find(POD, "shop", "a") == version("10")
    state.put(POD, version("2", "another"))
    assert state.find(POD, "shop", "a") == version("2", "another")
