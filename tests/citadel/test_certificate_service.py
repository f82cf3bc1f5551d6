"""CreateCertificate over real gRPC and TLS: whose certificate comes, and which status every refusal has."""

import contextlib
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from google.protobuf.struct_pb2 import Struct

from lateen.base.errors import UnavailableError
from lateen.citadel import messages
from lateen.citadel.ca import create_authority
from lateen.citadel.service import CertificateService
from lateen.citadel.tokens import AUDIENCE, TokenReviewer
from lateen.runtime.metrics import Metrics
from lateen.runtime.tls import generate_key

NOW = datetime.now(UTC)
AUTHORITY = create_authority(now=NOW)
POD = {
    "authentication.kubernetes.io/pod-name": ["web-1"],
    "authentication.kubernetes.io/pod-uid": ["1234"],
}
WEB = "system:serviceaccount:shop:web"


def review_status(user=WEB, *, audiences=(AUDIENCE,), extra=POD, authenticated=True):
    return {
        "authenticated": authenticated,
        "audiences": list(audiences),
        "user": {"username": user, "extra": extra},
    }


REVIEWS = {
    "web": review_status(),
    "forged": {"authenticated": False, "error": "signature mismatch"},
    "api-audience": review_status(audiences=["https://kubernetes.default.svc"]),
    "no-audience": {"authenticated": True, "user": {"username": WEB, "extra": POD}},
    "unbound": review_status(extra={}),
    "person": review_status("jane"),
    "node": review_status("system:node:lateen"),
    "odd": review_status("system:serviceaccount:shop:web:more"),
}


async def review(document):
    token = document["spec"]["token"]
    assert document["spec"]["audiences"] == ["istio-ca"]
    if token == "away":
        raise UnavailableError("the API server is away")
    return document | {"status": REVIEWS[token]}


class Citadel:
    def __init__(self, channel: grpc.aio.Channel, metrics: Metrics) -> None:
        self.metrics = metrics
        self._call = channel.unary_unary(messages.METHOD)

    async def create(self, csr: str, *, token: str | None = "web", seconds: int = 0) -> list[bytes]:
        request = messages.build_request(csr, seconds)
        return await self.send(messages.encode(request), token=token)

    async def send(self, body: bytes, *, token: str | None = "web") -> list[bytes]:
        metadata = [("authorization", f"Bearer {token}")] if token is not None else []
        answer = await self._call(body, metadata=metadata)
        return [each.encode() for each in messages.decode_response(answer).cert_chain]


@contextlib.asynccontextmanager
async def serve_citadel():
    metrics = Metrics()
    service = CertificateService(lambda: AUTHORITY, TokenReviewer(review), metrics=metrics)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.build_handler(),))
    pair = AUTHORITY.issue_serving(["localhost"], now=NOW)
    credentials = grpc.ssl_server_credentials([(pair.key_pem, pair.chain_pem)])
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    trust = grpc.ssl_channel_credentials(AUTHORITY.roots_pem)
    async with grpc.aio.secure_channel(f"localhost:{port}", trust) as channel:
        yield Citadel(channel, metrics)
    await server.stop(None)


def make_csr(name: str = "spiffe://cluster.local/ns/kube-system/sa/admin") -> str:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(names, critical=False).sign(generate_key(), hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


async def test_the_identity_is_the_tokens_whatever_the_csr_says():
    async with serve_citadel() as citadel:
        chain = await citadel.create(make_csr(), seconds=3600)
        leaf = x509.load_pem_x509_certificate(chain[0])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/ns/shop/sa/web"]
        assert chain[-1] == AUTHORITY.roots_pem
        left = leaf.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(minutes=59) < left <= timedelta(hours=1)
        assert "citadel_server_success_cert_issuance_count 1" in citadel.metrics.render()
        assert b"PRIVATE" not in b"".join(chain)


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (None, "no token"),
        ("forged", "signature mismatch"),
        ("api-audience", "audience"),
        ("no-audience", "audience"),
        ("unbound", "no pod"),
        ("person", "no service account"),
        ("node", "no service account"),
        ("odd", "no service account"),
    ],
)
async def test_whoever_does_not_prove_its_service_account_is_unauthenticated(token, says):
    async with serve_citadel() as citadel:
        with pytest.raises(grpc.aio.AioRpcError, match=says) as caught:
            await citadel.create(make_csr(), token=token)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "citadel_server_authentication_failure_count 1" in citadel.metrics.render()
        assert "citadel_server_success_cert_issuance_count 0" in citadel.metrics.render()


async def test_an_api_server_that_is_away_makes_the_caller_try_again():
    async with serve_citadel() as citadel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await citadel.create(make_csr(), token="away")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "body",
    [b"\xff\xff", messages.encode(messages.build_request("hello", 60))]
    + [messages.encode(messages.build_request(make_csr(), seconds)) for seconds in (91 * 86400, 1 << 62)],
    ids=["no message", "no CSR", "longer than 90 days", "longer than time"],
)
async def test_a_request_that_cannot_be_fulfilled_is_an_invalid_argument(body):
    async with serve_citadel() as citadel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await citadel.send(body)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_wish_to_be_someone_else_is_refused():
    request = messages.build_request(make_csr(), 60)
    wish = Struct()
    wish.update({"ImpersonatedIdentity": "spiffe://cluster.local/ns/kube-system/sa/admin"})
    request.metadata.ParseFromString(wish.SerializeToString(deterministic=True))
    async with serve_citadel() as citadel:
        with pytest.raises(grpc.aio.AioRpcError, match="impersonation") as caught:
            await citadel.send(messages.encode(request))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
