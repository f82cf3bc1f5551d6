"""The authority's Secret and the roots' ConfigMaps, in a real API server, with discovery's own rights."""

import asyncio
import base64
import contextlib
from datetime import UTC, datetime

import grpc
import pytest
from cryptography import x509

from lateen.agent.identity import build_csr
from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.base.errors import DataError, NotFoundError
from lateen.base.spiffe import SpiffeId
from lateen.citadel import messages
from lateen.citadel.authority import find_core_kind, open_authority, watch_expiry
from lateen.citadel.ca import create_authority
from lateen.citadel.service import CertificateService
from lateen.citadel.tokens import TokenReviewer
from lateen.citadel.trust_bundle import ROOT_CONFIG_MAP, TrustBundle
from lateen.runtime.clock import SystemClock
from lateen.runtime.metrics import Metrics
from lateen.runtime.tls import generate_key
from lateen.testing.poll import until

CLOCK = SystemClock()
CONFIG_MAP = find_core_kind("ConfigMap")
NAMESPACE = find_core_kind("Namespace")
SECRET = find_core_kind("Secret")


async def make_namespace(client, name):
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await client.create(NAMESPACE, document)


@pytest.fixture
async def admin(cluster):
    client = cluster.client("admin")
    with contextlib.suppress(Exception):
        await make_namespace(client, "istio-system")
    return client


@pytest.fixture
async def discovery(cluster, admin):
    return cluster.client("discovery")


def make_secret(name, **content):
    data = {key.replace("_", "-") + ".pem": base64.b64encode(value).decode() for key, value in content.items()}
    metadata = {"name": name, "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def test_the_root_is_made_once_and_used_again(discovery, admin):
    first, second = await asyncio.gather(*(open_authority(discovery, clock=CLOCK) for _ in range(2)))
    third = await open_authority(discovery, clock=CLOCK)
    assert first.roots_pem == second.roots_pem == third.roots_pem
    secret = await admin.get(SECRET, "istio-system", "istio-ca-secret")
    assert secret["type"] == "istio.io/ca-root"
    assert set(secret["data"]) == {"ca-cert.pem", "ca-key.pem"}
    assert base64.b64decode(secret["data"]["ca-cert.pem"]) == first.roots_pem


async def test_a_plugged_in_authority_comes_first(discovery, admin):
    root = create_authority(now=datetime.now(UTC))
    pems = {"cert_chain": root.certificate_pem, "root_cert": root.roots_pem}
    secret = make_secret("cacerts", ca_cert=root.certificate_pem, ca_key=root.key_pem, **pems)
    await admin.create(SECRET, secret)
    assert (await open_authority(discovery, clock=CLOCK)).roots_pem == root.roots_pem
    with pytest.raises(NotFoundError):
        await admin.get(SECRET, "istio-system", "istio-ca-secret")


@pytest.mark.parametrize("content", [{}, {"ca_cert": b"x", "ca_key": b"y"}], ids=["empty", "no PEM"])
async def test_a_secret_that_cannot_be_used_is_an_error_and_stays_as_it_is(discovery, admin, content):
    created = await admin.create(SECRET, make_secret("istio-ca-secret", **content))
    with pytest.raises(DataError, match="istio-system/istio-ca-secret"):
        await open_authority(discovery, clock=CLOCK)
    after = await admin.get(SECRET, "istio-system", "istio-ca-secret")
    assert after.get("data") == created.get("data")


def test_the_expiry_of_the_root_is_in_the_metrics():
    metrics = Metrics()
    watch_expiry(create_authority(now=datetime.now(UTC)), CLOCK, metrics)
    text = metrics.render()
    assert "citadel_server_root_cert_expiry_timestamp" in text
    assert metrics.gauge("citadel_server_root_cert_expiry_seconds", "").get() > 3649 * 86400


@contextlib.asynccontextmanager
async def keeping(discovery, roots):
    task = asyncio.create_task(TrustBundle(discovery, roots, clock=CLOCK).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_namespace_has_the_roots_whatever_happens_to_the_config_map(discovery, admin):
    roots = create_authority(now=datetime.now(UTC)).roots_pem

    async def is_right(namespace):
        try:
            found = await admin.get(CONFIG_MAP, namespace, ROOT_CONFIG_MAP)
        except NotFoundError:
            return None
        right = found.get("data", {}).get("root-cert.pem") == roots.decode()
        return found if right and found["metadata"].get("labels", {}).get("istio.io/config") else None

    async with keeping(discovery, roots):
        for namespace in ("default", "istio-system"):
            await until(lambda name=namespace: is_right(name), what=f"{namespace} has the roots")
        await make_namespace(admin, "later")
        await until(lambda: is_right("later"), what="a new namespace has the roots")
        edit = {"data": {"root-cert.pem": "forged", "mine": "stays"}, "metadata": {"labels": None}}
        await admin.patch(CONFIG_MAP, "default", ROOT_CONFIG_MAP, edit)
        mended = await until(lambda: is_right("default"), what="the edit is put right")
        assert mended["data"]["mine"] == "stays"
        await admin.delete(CONFIG_MAP, "default", ROOT_CONFIG_MAP)
        await until(lambda: is_right("default"), what="the deleted one is back")
    with pytest.raises(NotFoundError):
        await admin.get(CONFIG_MAP, "kube-system", ROOT_CONFIG_MAP)


async def make_pod_token(admin, account, *, audience="istio-ca", bound=True):
    """A token as the node gets one for a pod."""
    registry = Registry(BUILTIN)
    accounts = registry.find_kind("", "v1", "ServiceAccount")
    pods = registry.find_kind("", "v1", "Pod")
    metadata = {"name": account, "namespace": "default"}
    with contextlib.suppress(Exception):
        await admin.create(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": "app"}]}
    pod = await admin.create(pods, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    reference = {"apiVersion": "v1", "kind": "Pod", "name": account, "uid": pod["metadata"]["uid"]}
    request = {"audiences": [audience], "expirationSeconds": 3600}
    if bound:
        request["boundObjectRef"] = reference
    document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": request}
    answer = await admin.post_subresource(accounts, "default", account, "token", document)
    return answer["status"]["token"]


@contextlib.asynccontextmanager
async def signing(discovery):
    authority = await open_authority(discovery, clock=CLOCK)
    review = Registry(BUILTIN).find_kind("authentication.k8s.io", "v1", "TokenReview")
    reviewer = TokenReviewer(lambda document: discovery.create(review, document))
    service = CertificateService(lambda: authority, reviewer, metrics=Metrics())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.build_handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def sign(token):
            csr = build_csr(generate_key(), SpiffeId("cluster.local", "kube-system", "admin")).decode()
            body = messages.encode(messages.build_request(csr, 0))
            call = channel.unary_unary(messages.METHOD)
            answer = await call(body, metadata=[("authorization", f"Bearer {token}")])
            return messages.decode_response(answer).cert_chain

        yield sign
    await server.stop(None)


async def test_a_pods_own_token_gets_the_certificate_of_its_account(discovery, admin):
    token = await make_pod_token(admin, "web")
    async with signing(discovery) as sign:
        chain = await sign(token)
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["spiffe://cluster.local/ns/default/sa/web"]


@pytest.mark.parametrize(
    "options", [{"audience": "https://kubernetes.default.svc"}, {"bound": False}], ids=["audience", "unbound"]
)
async def test_another_token_of_the_account_gets_none(discovery, admin, options):
    token = await make_pod_token(admin, "web", **options)
    async with signing(discovery) as sign:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sign(token)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_token_of_a_deleted_pod_gets_none(discovery, admin):
    token = await make_pod_token(admin, "web")
    pods = Registry(BUILTIN).find_kind("", "v1", "Pod")
    await admin.delete(pods, "default", "web", grace_period_seconds=0)
    async with signing(discovery) as sign:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sign(token)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
