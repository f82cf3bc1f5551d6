import os
from pathlib import Path

import pytest
import yaml

from lateen.api.kinds import Kind, Registry, order_version
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import GATEWAY_API, ISTIO
from lateen.api.objects import ObjectKey, key_of, ref_of

SHARED = Path(os.environ.get("LATEEN_SHARED", Path(__file__).parents[2].parent / "shared"))
NOT_KUBERNETES = {
    ("certmanager.k8s.io/v1alpha1", "Certificate"): "a CRD that cert-manager brings",
    ("certmanager.k8s.io/v1alpha1", "ClusterIssuer"): "a CRD that cert-manager brings",
    ("spire.spiffe.io/v1alpha1", "ClusterFederatedTrustDomain"): "a CRD that SPIRE brings",
    ("spire.spiffe.io/v1alpha1", "ClusterSPIFFEID"): "a CRD that SPIRE brings",
    ("install.istio.io/v1alpha1", "IstioOperator"): "read by istioctl, never by an API server",
    ("policy/v1", "PodSecurityPolicy"): "never existed in this version, removed from Kubernetes 1.25",
}


@pytest.fixture
def registry() -> Registry:
    return Registry((*BUILTIN, *ISTIO, *GATEWAY_API))


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")
@pytest.mark.parametrize("folder", ["samples", "article"])
def test_every_kind_of_the_samples_is_served(registry: Registry, folder: str) -> None:
    documents = [
        (file.name, document)
        for file in sorted((SHARED / folder).rglob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        if document and "kind" in document
    ]
    assert documents
    unknown = {
        (file, document["apiVersion"], document["kind"])
        for file, document in documents
        if registry.find_document(document) is None and (document["apiVersion"], document["kind"]) not in NOT_KUBERNETES
    }
    assert unknown == set()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("vs", "virtualservices.networking.istio.io"),
        ("VirtualService", "virtualservices.networking.istio.io"),
        ("virtualservices.v1beta1.networking.istio.io", "virtualservices.networking.istio.io"),
        ("vs.networking", "virtualservices.networking.istio.io"),
        ("vs.v1alpha3", "virtualservices.networking.istio.io"),
        ("dr", "destinationrules.networking.istio.io"),
        ("peerauthentication", "peerauthentications.security.istio.io"),
        ("deploy", "deployments.apps"),
        ("deployments.apps", "deployments.apps"),
        ("svc.v1", "services"),
        ("po", "pods"),
        ("crd", "customresourcedefinitions.apiextensions.k8s.io"),
        ("events", "events"),
        ("events.events.k8s.io", "events.events.k8s.io"),
        ("gateway", "gateways.networking.istio.io"),
        ("gateways.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io"),
        ("gtw", "gateways.gateway.networking.k8s.io"),
    ],
)
def test_a_word_of_the_command_line_names_the_kind_kubectl_means(registry: Registry, word: str, expected: str) -> None:
    kind = registry.resolve(word)
    assert kind is not None
    assert kind.qualified_name == expected


@pytest.mark.parametrize("word", ["nothing", "vs.apps", "", "pods.v2"])
def test_an_unknown_word_is_no_kind(registry: Registry, word: str) -> None:
    assert registry.resolve(word) is None


def test_kinds_are_found_by_every_served_version_only(registry: Registry) -> None:
    for version in ("v1", "v1beta1", "v1alpha3"):
        kind = registry.find("networking.istio.io", version, "virtualservices")
        assert kind is not None
        assert kind is registry.find_kind("networking.istio.io", version, "VirtualService")
    assert registry.find("networking.istio.io", "v1", "envoyfilters") is None
    assert registry.find("networking.istio.io", "v2", "virtualservices") is None


def test_a_kind_can_come_and_go(registry: Registry) -> None:
    before = len(registry)
    kind = Kind(
        group="example.com",
        version="v1",
        served_versions=("v1",),
        kind="Widget",
        plural="widgets",
        singular="widget",
        builtin=False,
    )
    registry.add(kind)
    assert registry.resolve("widget") is kind
    assert registry.all()[-1] is kind
    registry.add(kind)
    assert len(registry) == before + 1
    registry.remove("example.com", "widgets")
    registry.remove("example.com", "widgets")
    assert registry.resolve("widget") is None
    assert len(registry) == before


@pytest.mark.parametrize("kind", [*BUILTIN, *ISTIO, *GATEWAY_API], ids=lambda kind: kind.qualified_name)
def test_every_kind_is_consistent(kind: Kind) -> None:
    assert kind.version in kind.served_versions
    assert kind.schema_name.endswith(f".{kind.version}.{kind.kind}")
    assert kind.plural == kind.plural.lower()
    assert list(kind.served_versions) == sorted(kind.served_versions, key=order_version)


def test_group_and_plural_are_unique() -> None:
    names = [(kind.group, kind.plural) for kind in (*BUILTIN, *ISTIO, *GATEWAY_API)]
    assert len(names) == len(set(names))


def test_versions_are_ordered_as_kubernetes_prefers_them() -> None:
    versions = [
        "v1alpha3",
        "foo10",
        "v1",
        "v11alpha2",
        "v10",
        "v3beta1",
        "v2",
        "foo1",
        "v1beta2",
        "v12alpha1",
    ]
    assert sorted(versions, key=order_version) == [
        "v10",
        "v2",
        "v1",
        "v3beta1",
        "v1beta2",
        "v12alpha1",
        "v11alpha2",
        "v1alpha3",
        "foo1",
        "foo10",
    ]


def test_keys_read_metadata_leniently() -> None:
    assert key_of({"metadata": {"name": "a", "namespace": "b"}}) == ObjectKey("b", "a")
    assert key_of({}) == ObjectKey("", "")
    assert str(ref_of({"kind": "Node", "metadata": {"name": "n", "namespace": None}})) == "Node n"
