"""Another pod's identity cannot be had: not with one's own token, not on the plaintext port, not through a socket."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from google.protobuf.json_format import ParseDict

from lateen.agent.identity import build_csr
from lateen.agent.upstream import DISCOVERY_NAME
from lateen.base.spiffe import SpiffeId
from lateen.citadel.messages import build_request, decode_response, encode
from lateen.envoy.messages import message_class
from lateen.runtime.grpc import build_channel
from lateen.runtime.tls import generate_key
from lateen.testing.ads_client import AdsClient
from lateen.testing.poll import until
from lateen.xds.resources import CLUSTER, SECRET

from .conftest import Mesh, pod, service_account

SIGN = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
SECRET_NAMES = (
    "default", "ROOTCA", "kubernetes://istio-ca-secret", "kubernetes://istio-system/istio-ca-secret",
    "kubernetes-gateway://istio-system/istio-ca-secret", "kubernetes://credential-cacert", "configmap://istio-system/istio-ca-root-cert",
    "file-root:/etc/passwd", "file-cert:/etc/passwd~/etc/passwd", "builtin://", "invalid://x", "marker",
)  # fmt: skip
# From inside the app, with the token that every pod has: status of some requests to the API server.
ASK_API = """
import json, ssl, sys, urllib.error, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
context = ssl.create_default_context(cafile=folder + "/ca.crt")
def ask(method, path, body=None):
    request = urllib.request.Request("https://kubernetes.default.svc" + path, method=method, data=body and json.dumps(body).encode())
    request.add_header("Authorization", "Bearer " + open(folder + "/token").read())
    request.add_header("Content-Type", "application/json")
    try:
        return urllib.request.urlopen(request, context=context, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
for method, path, body in json.loads(sys.argv[1]):
    print(ask(method, path, body))
"""


@pytest.fixture(scope="module")
def two_pods(mesh: Mesh, shared_namespace: str) -> str:
    """A namespace with pod `mine` and pod `other`, each with a sidecar and a service account of its name."""
    mesh.apply(service_account("mine"), service_account("other"), namespace=shared_namespace)
    mesh.apply(
        *(pod(name, sidecar=True, service_account=name) for name in ("mine", "other")), namespace=shared_namespace
    )
    mesh.wait_ready(shared_namespace, "mine", "other")
    return shared_namespace


def node_of(namespace: str, name: str) -> bytes:
    """What an Envoy says of itself, true or not."""
    node = {
        "id": f"sidecar~10.244.0.9~{name}.{namespace}~{namespace}.svc.cluster.local",
        "metadata": {"NAMESPACE": namespace, "SERVICE_ACCOUNT": name},
    }
    encoded: bytes = ParseDict(node, message_class("envoy.config.core.v3.Node")()).SerializeToString(deterministic=True)
    return encoded


def token_of(mesh: Mesh, namespace: str, name: str, audience: str = "istio-ca") -> str:
    """A token as the node gives it to the agent of that pod."""
    found = mesh.get("pod", name, namespace)
    assert found is not None
    bound = ["--bound-object-kind", "Pod", "--bound-object-name", name, "--bound-object-uid", found["metadata"]["uid"]]
    return mesh.kubectl("-n", namespace, "create", "token", name, "--audience", audience, *bound).stdout.strip()


def roots_of(mesh: Mesh) -> bytes:
    """The root certificate of the mesh."""
    return Path(mesh.state.mesh_root_cert).read_bytes()


async def sign(mesh: Mesh, token: str | None, wanted: SpiffeId) -> list[str]:
    """Identities in the certificate that Citadel signs for a request that names one."""
    csr = build_csr(generate_key(), wanted).decode()
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    target = f"127.0.0.1:{mesh.running.ports['tls']}"
    async with build_channel(target, roots_pem=roots_of(mesh), server_name=DISCOVERY_NAME) as channel:
        call = channel.unary_unary(SIGN)
        answer = await call(
            encode(build_request(csr, int(timedelta(hours=1).total_seconds()))), metadata=metadata, timeout=10
        )
    leaf = x509.load_pem_x509_certificate(decode_response(answer).cert_chain[0].encode())  # type: ignore[attr-defined]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


async def test_citadel_takes_the_identity_from_the_token_and_never_from_the_request(mesh: Mesh, two_pods: str) -> None:
    token = token_of(mesh, two_pods, "mine")
    signed = await sign(mesh, token, SpiffeId("cluster.local", two_pods, "other"))
    assert signed == [f"spiffe://cluster.local/ns/{two_pods}/sa/mine"]


@pytest.mark.parametrize("token", ["none", "nonsense", "wrong audience", "the app's own"])
async def test_citadel_signs_nothing_without_the_pods_own_token(mesh: Mesh, two_pods: str, token: str) -> None:
    shown = {
        "none": lambda: None,
        "nonsense": lambda: "nonsense",
        "wrong audience": lambda: token_of(mesh, two_pods, "mine", "somebody-else"),
        "the app's own": lambda: mesh.exec(
            two_pods, "mine", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token", container="app"
        ).stdout.strip(),
    }[token]()
    assert shown is None or shown
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await sign(mesh, shown, SpiffeId("cluster.local", two_pods, "mine"))
    assert refused.value.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


async def test_a_stream_may_not_claim_to_be_another_pod(mesh: Mesh, two_pods: str) -> None:
    token = token_of(mesh, two_pods, "mine")
    target, roots = f"127.0.0.1:{mesh.running.ports['tls']}", roots_of(mesh)
    for name, refused in (("other", True), ("mine", False)):
        client = AdsClient(
            target, node=node_of(two_pods, name), token=token, roots_pem=roots, server_name=DISCOVERY_NAME
        )
        async with client:
            client.subscribe(CLUSTER)
            await until(lambda client=client: client.failure or client.held[CLUSTER])
            assert bool(client.failure) is refused
            assert bool(client.total_bytes) is not refused


async def test_the_plaintext_port_refuses_every_secret(mesh: Mesh, two_pods: str) -> None:
    client = AdsClient(f"127.0.0.1:{mesh.running.ports['ads']}", node=node_of(two_pods, "mine"))
    async with client:
        client.subscribe(CLUSTER)
        await until(lambda: client.held[CLUSTER])
        client.subscribe(SECRET, SECRET_NAMES)
        await until(lambda: {name for _, name in client.removed} >= set(SECRET_NAMES))
        assert not client.held[SECRET]
        assert not any(b"PRIVATE KEY" in held.value for kind in client.held.values() for held in kind.values())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.running.ports['ads']}") as channel:
        for method in (SIGN, "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(method)(b"", timeout=10)
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_apps_token_opens_nothing_at_the_api_server(mesh: Mesh, two_pods: str) -> None:
    token_request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": ["istio-ca"]},
    }
    refused = [
        ("GET", "/api/v1/namespaces/istio-system/secrets/istio-ca-secret", None),
        ("GET", f"/api/v1/namespaces/{two_pods}/pods/other", None),
        ("GET", "/api/v1/secrets", None),
        ("POST", f"/api/v1/namespaces/{two_pods}/serviceaccounts/other/token", token_request),
        ("POST", f"/api/v1/namespaces/{two_pods}/serviceaccounts/mine/token", token_request),
        ("GET", f"/api/v1/namespaces/{two_pods}/pods/other/log?container=app", None),
        ("POST", f"/api/v1/namespaces/{two_pods}/pods/other/exec?command=id&stdout=1", None),
    ]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    requests = [*refused, ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)]
    done = mesh.exec(two_pods, "mine", "python3", "-c", ASK_API, json.dumps(requests), container="app")
    assert done.stdout.split() == ["403"] * len(refused) + ["201"], done.stderr


def test_envoys_own_pages_show_no_private_key(mesh: Mesh, two_pods: str) -> None:
    secret = mesh.get("secret", "istio-ca-secret", "istio-system")
    assert secret is not None
    for path in ("config_dump?include_eds", "certs", "memory", "server_info"):
        _, status, body = mesh.curl(two_pods, "mine", f"http://127.0.0.1:15000/{path}", container="app")
        assert status == 200
        assert "PRIVATE KEY" not in body
        assert base64.b64encode(b"-----BEGIN PRIVATE").decode()[:20] not in body
