"""Services, endpoints, proxies and visibility, from documents to answers."""

from typing import Any

import pytest

from lateen.base.errors import DataError
from lateen.base.names import ObjectRef
from lateen.incremental.database import Database
from lateen.mesh.endpoint import backends, identities, takes_mutual_tls
from lateen.mesh.hostname import find_service_ref
from lateen.mesh.inputs import changes_of
from lateen.mesh.proxy import Proxy
from lateen.mesh.service import (
    Workload,
    addressed_targets,
    find_owner,
    find_service,
    find_workload,
    selected_targets,
)
from lateen.mesh.settings import DEFAULT_SETTINGS, parse_settings
from lateen.mesh.visibility import find_scope, is_exported, visible_services

WEB = ObjectRef("Service", "shop", "web")


def build_service(name: str = "web", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    created = spec.pop("created", "2026-01-01T00:00:00Z")
    return {
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": annotations,
            "creationTimestamp": created,
        },
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]} | spec,
    }


def build_pod(name: str, address: str, *containers: str, **fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": one, "image": "x"} for one in containers or ("app",)]}
    spec["serviceAccountName"] = fields.pop("account", "web")
    if "ports" in fields:
        spec["containers"][0]["ports"] = fields.pop("ports")
    phase = fields.pop("phase", "Running")
    metadata = {"name": name, "namespace": "shop", "labels": fields.pop("labels", {"app": "web"})} | fields
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase, "podIP": address}}


def build_slice(*endpoints: dict[str, Any], name: str = "web-1", **fields: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "web"}
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8080}],
    } | fields


def build_endpoint(address: str, pod: str = "", *, ready: bool | None = None) -> dict[str, Any]:
    endpoint: dict[str, Any] = {"addresses": [address], "conditions": {"ready": ready}}
    if pod:
        endpoint["targetRef"] = {"kind": "Pod", "name": pod}
    return endpoint


def build_database(*documents: dict[str, Any]) -> Database:
    database = Database()
    database.commit([change for one in documents for change in changes_of(one["kind"], None, one)])
    return database


def test_backends_join_slices_with_pods() -> None:
    database = build_database(
        build_service(),
        build_pod("web-0", "10.244.0.2", "app", "istio-proxy"),
        build_pod("web-1", "10.244.0.1", account="other"),
        build_slice(build_endpoint("10.244.0.2", "web-0"), build_endpoint("10.244.0.1", "web-1", ready=False)),
        build_slice(build_endpoint("10.0.0.9"), name="web-2"),
    )
    found = [(one.address, one.ready, one.mutual_tls, one.workload) for one in backends(database, WEB, 80)]
    assert found == [
        ("10.0.0.9", True, False, ""),
        ("10.244.0.1", False, False, "web-1"),
        ("10.244.0.2", True, True, "web-0"),
    ]
    assert identities(database, WEB, 80) == (
        "spiffe://cluster.local/ns/shop/sa/other",
        "spiffe://cluster.local/ns/shop/sa/web",
    )
    assert takes_mutual_tls(database, WEB, 80) is False
    assert takes_mutual_tls(database, WEB, 81) is None


def test_pods_that_are_not_ready_are_published_when_the_service_says_so() -> None:
    database = build_database(
        build_service(publishNotReadyAddresses=True), build_slice(build_endpoint("10.0.0.1", ready=False))
    )
    assert [backend.ready for backend in backends(database, WEB, 80)] == [True]


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(build_pod("web-0", "10.244.0.1", "app", "istio-proxy"), True, id="sidecar"),
        pytest.param(build_pod("web-0", "10.244.0.1", "istio-proxy"), False, id="gateway"),
        pytest.param(build_pod("web-0", "10.244.0.1"), False, id="no proxy"),
        pytest.param(build_pod("web-0", "10.244.0.1", labels={"security.istio.io/tlsMode": "istio"}), True, id="label"),
        pytest.param(
            build_pod("web-0", "10.244.0.1", "app", "istio-proxy", labels={"security.istio.io/tlsMode": "disabled"}),
            False,
            id="label beats container",
        ),
        pytest.param(build_pod("web-0", "10.244.0.1", "app", "istio-proxy", phase="Succeeded"), False, id="ended"),
    ],
)
def test_who_takes_mutual_tls(pod: dict[str, Any], expected: bool) -> None:
    database = build_database(build_service(), pod, build_slice(build_endpoint("10.244.0.1", "web-0")))
    assert takes_mutual_tls(database, WEB, 80) is expected


def test_workload_name_is_that_of_the_deployment() -> None:
    owners = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8", "uid": "1", "controller": True}]
    pod = build_pod("web-5d8-x", "10.244.0.1", labels={"pod-template-hash": "5d8"}, ownerReferences=owners)
    database = build_database(build_service(), pod, build_slice(build_endpoint("10.244.0.1", "web-5d8-x")))
    assert [backend.workload for backend in backends(database, WEB, 80)] == ["web"]


def test_targets_of_a_workload_by_selector_with_named_port() -> None:
    named = [{"name": "web", "containerPort": 8000}]
    proxy = Proxy.from_node("sidecar~10.244.0.1~web-0.shop~shop.svc.cluster.local", {})
    database = build_database(
        build_service(selector={"app": "web"}, ports=[{"name": "http", "port": 80, "targetPort": "web"}]),
        build_service("other", selector={"app": "web", "version": "v2"}),
        build_service("unknown-port", selector={"app": "web"}, ports=[{"port": 81, "targetPort": "nothing"}]),
        build_pod("web-0", "10.244.0.1", ports=named),
    )
    workload = find_workload(database, proxy)
    assert workload == Workload("shop", (("app", "web"),), (("web", 8000),))
    assert {(one.ref.name, one.service_port, one.port) for one in selected_targets(database, workload)} == {
        ("web", 80, 8000)
    }


def test_targets_of_an_address_count_for_services_without_selector_only() -> None:
    database = build_database(build_service(), build_slice(build_endpoint("10.0.0.7")))
    assert [(one.ref, one.port) for one in addressed_targets(database, ("10.0.0.7",))] == [(WEB, 8080)]
    selecting = build_database(build_service(selector={"app": "web"}), build_slice(build_endpoint("10.0.0.7")))
    assert addressed_targets(selecting, ("10.0.0.7",)) == ()


def test_pod_labels_beat_what_the_proxy_says() -> None:
    proxy = Proxy.from_node("sidecar~10.244.0.1~web-0.shop~shop.svc.cluster.local", {"LABELS": {"app": "stale"}})
    assert find_workload(build_database(), proxy).labels == (("app", "stale"),)
    assert find_workload(build_database(build_pod("web-0", "10.244.0.1")), proxy).labels == (("app", "web"),)


def test_address_belongs_to_the_oldest_service_that_claims_it() -> None:
    young = build_service("aaa", created="2026-02-01T00:00:00Z")
    database = build_database(young, build_service())
    assert find_owner(database, "10.96.0.1", 80) == WEB
    assert find_owner(database, "10.96.0.1", 81) is None


def test_external_name_is_no_service_of_its_own() -> None:
    database = build_database(build_service(type="ExternalName", externalName="example.com", clusterIP=""))
    assert find_service(database, WEB) is None


@pytest.mark.parametrize(
    ("host", "ref"),
    [
        ("web.shop.svc.cluster.local", WEB),
        ("web.shop.svc.other", None),
        ("web.shop", None),
        ("example.com", None),
    ],
)
def test_service_of_a_host(host: str, ref: ObjectRef | None) -> None:
    assert find_service_ref(host, "cluster.local") == ref


@pytest.mark.parametrize(
    ("export_to", "seen_by"),
    [
        pytest.param("", {"shop", "other"}, id="default"),
        pytest.param("*", {"shop", "other"}, id="everyone"),
        pytest.param(".", {"shop"}, id="own namespace"),
        pytest.param("other", {"other"}, id="one namespace"),
        pytest.param("other, .", {"shop", "other"}, id="list"),
        pytest.param("~", set(), id="nobody"),
    ],
)
def test_who_sees_a_service(export_to: str, seen_by: set[str]) -> None:
    database = build_database(build_service(annotations={"networking.istio.io/exportTo": export_to}))
    viewers = {namespace: find_scope(database, namespace).viewer for namespace in ("shop", "other")}
    assert {namespace for namespace, viewer in viewers.items() if is_exported(database, WEB, viewer)} == seen_by


def test_proxies_share_a_scope_while_nothing_is_private() -> None:
    database = build_database(build_service())
    assert find_scope(database, "a") is find_scope(database, "a")
    assert find_scope(database, "a") == find_scope(database, "b")
    assert visible_services(database, "shop", "") == (WEB,)


def test_default_export_of_the_mesh_holds_for_services_that_do_not_say() -> None:
    config = {
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "defaultServiceExportTo: ['.']"},
    }
    database = build_database(build_service(), config)
    viewers = [find_scope(database, namespace).viewer for namespace in ("shop", "other")]
    assert [is_exported(database, WEB, viewer) for viewer in viewers] == [True, False]


def test_settings_are_read_field_by_field() -> None:
    text = "trustDomain: td\nconnectTimeout: nonsense\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
    settings = parse_settings(text)
    assert (settings.trust_domain, settings.allow_any) == ("td", False)
    assert settings.connect_timeout == DEFAULT_SETTINGS.connect_timeout


@pytest.mark.parametrize("text", ["", "- a", "{", "nonsense: 1"])
def test_unreadable_settings_are_the_defaults(text: str) -> None:
    assert parse_settings(text) == DEFAULT_SETTINGS


def test_other_config_maps_and_kinds_change_nothing() -> None:
    config = {"kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "shop"}, "data": {"mesh": ""}}
    assert changes_of("ConfigMap", None, config) == ()
    assert changes_of("Deployment", None, {"metadata": {"name": "x"}}) == ()
    assert changes_of("Service", None, None) == ()


@pytest.mark.parametrize("kind", ["Service", "EndpointSlice", "Pod"])
def test_document_that_cannot_be_read_has_no_row(kind: str) -> None:
    ((_, ref, row),) = changes_of(kind, None, {"metadata": {"name": "x", "labels": {"a": 1}}, "spec": 7})
    assert (ref, row) == (ObjectRef(kind, "", "x"), None)


def test_proxy_is_read_from_its_node() -> None:
    proxy = Proxy.from_node(
        "sidecar~10.244.0.1~web-0.shop~shop.svc.mesh.example",
        {"INSTANCE_IPS": "10.244.0.1,fd00::1", "LABELS": {"app": "web"}, "SERVICE_ACCOUNT": "web"},
    )
    assert (proxy.type, proxy.namespace, proxy.name) == ("sidecar", "shop", "web-0")
    assert proxy.addresses == ("10.244.0.1", "fd00::1")
    assert (proxy.service_account, proxy.cluster_domain) == ("web", "mesh.example")
    assert proxy.pod == ObjectRef("Pod", "shop", "web-0")
    assert len({proxy, proxy}) == 1


@pytest.mark.parametrize("node_id", ["", "envoy", "ztunnel~1.1.1.1~a.b~c", "sidecar~1.1.1.1"])
def test_other_node_ids_are_refused(node_id: str) -> None:
    with pytest.raises(DataError, match="node id"):
        Proxy.from_node(node_id, {})
