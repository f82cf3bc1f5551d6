"""SDS on a pod's socket, asked with plain gRPC."""

import contextlib
from datetime import UTC, datetime

import pytest
from cryptography import x509

from lateen.envoy.messages import encode, message_class
from lateen.testing.poll import until
from lateen.xds.messages import DeltaRequest, decode_delta_response, encode_delta_request
from lateen.xds.resources import SECRET

DELTA = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"
STATE = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"


class Stream:
    def __init__(self, call) -> None:
        self._call = call

    async def ask(self, *names, versions=None, nonce="", error=None, unsubscribe=()) -> None:
        request = DeltaRequest(SECRET, names, unsubscribe, versions or {}, nonce, error)
        await self._call.write(encode_delta_request(request))

    async def read(self):
        return decode_delta_response(await self._call.read())

    async def read_secrets(self):
        response = await self.read()
        return {
            name: message_class("envoy.extensions.transport_sockets.tls.v3.Secret").FromString(body)
            for name, (_, body) in response.resources.items()
        }


@contextlib.asynccontextmanager
async def delta_stream(pod):
    async with pod.channel() as channel:
        call = channel.stream_stream(DELTA)()
        yield Stream(call)
        call.cancel()


def leaf_of(secret) -> x509.Certificate:
    return x509.load_pem_x509_certificate(secret.tls_certificate.certificate_chain.inline_bytes)


async def test_a_pod_gets_its_own_certificate_and_the_roots(agent, node, discovery):
    pod = await node.add_pod("web")
    async with delta_stream(pod) as stream:
        await stream.ask("default", "ROOTCA")
        secrets = await stream.read_secrets()
    leaf = leaf_of(secrets["default"])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["spiffe://cluster.local/ns/shop/sa/web"]
    assert secrets["ROOTCA"].validation_context.trusted_ca.inline_bytes == discovery.authority.roots_pem
    assert secrets["default"].tls_certificate.private_key.inline_bytes.startswith(b"-----BEGIN PRIVATE KEY")
    assert leaf.not_valid_after_utc > datetime.now(UTC)


async def test_each_socket_serves_its_own_pod_only(agent, node):
    pods = [await node.add_pod(name) for name in ("one", "two")]
    seen = set()
    for pod in pods:
        async with delta_stream(pod) as stream:
            await stream.ask("default", "spiffe://cluster.local/ns/shop/sa/one", "two", "")
            response = await stream.read()
            assert set(response.resources) == {"default"}
            assert len(response.removed) == 3
        async with delta_stream(pod) as stream:
            await stream.ask("default")
            leaf = leaf_of((await stream.read_secrets())["default"])
            (name,) = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            seen.add((pod.spec.name, name.value.rpartition("/")[2]))
    assert seen == {("one", "one"), ("two", "two")}


async def test_what_the_proxy_states_to_have_is_not_sent_again(agent, node, discovery):
    pod = await node.add_pod("web")
    async with delta_stream(pod) as stream:
        await stream.ask("default")
        first = await stream.read()
    versions = {name: version for name, (version, _) in first.resources.items()}
    async with delta_stream(pod) as stream:
        await stream.ask("default", versions=versions)
        await stream.ask("ROOTCA")
        assert set((await stream.read()).resources) == {"ROOTCA"}


async def test_a_secret_that_is_not_there_yet_is_waited_for(agent, node, discovery):
    discovery.refuse = True
    pod = await node.add_pod("web")
    async with delta_stream(pod) as stream:
        await stream.ask("default")
        failures = discovery.metrics.counter("citadel_server_authentication_failure_count", "")
        await until(lambda: failures.get() >= 1, what="the authority has refused once")
        discovery.refuse = False
        assert set((await stream.read()).resources) == {"default"}


async def test_the_death_of_discovery_changes_nothing_for_secrets(agent, node, discovery):
    pod = await node.add_pod("web")
    async with delta_stream(pod) as stream:
        await stream.ask("default")
        before = await stream.read()
        await discovery.stop()
        async with delta_stream(pod) as another:
            await another.ask("default")
            assert (await another.read()).resources == before.resources
        await discovery.start()
        await stream.ask("ROOTCA")
        assert set((await stream.read()).resources) == {"ROOTCA"}


async def test_a_changed_root_file_reaches_the_proxy_without_a_new_certificate(agent, node, discovery, tmp_path):
    pod = await node.add_pod("web")
    async with delta_stream(pod) as stream:
        await stream.ask("default", "ROOTCA")
        before = await stream.read()
        discovery.add_root()
        discovery.sign_with_new_root()
        pod.write_roots(discovery.authority.roots_pem)
        after = await stream.read()
        assert set(after.resources) == {"ROOTCA"}
        assert discovery.authority.certificate_pem in after.resources["ROOTCA"][1]
        assert before.resources["ROOTCA"] != after.resources["ROOTCA"]
    assert discovery.issued == 1


async def test_state_of_the_world_answers_the_names_asked_for_and_ignores_stale_requests(agent, node):
    pod = await node.add_pod("web")
    request_class = message_class("envoy.service.discovery.v3.DiscoveryRequest")
    response_class = message_class("envoy.service.discovery.v3.DiscoveryResponse")

    async def ask(call, *names, nonce="", version=""):
        request = request_class(type_url=SECRET, resource_names=names, response_nonce=nonce, version_info=version)
        await call.write(encode(request))

    async with pod.channel() as channel:
        call = channel.stream_stream(STATE)()
        await ask(call, "default")
        first = response_class.FromString(await call.read())
        assert len(first.resources) == 1
        await ask(call, "default", nonce=first.nonce, version=first.version_info)
        await ask(call, "default", "ROOTCA", nonce="stale")
        await ask(call, "ROOTCA", nonce=first.nonce, version=first.version_info)
        second = response_class.FromString(await call.read())
        assert len(second.resources) == 1
        assert second.version_info != first.version_info
        call.cancel()
    async with pod.channel() as channel:
        call = channel.stream_stream(STATE)()
        await ask(call, "default", version=first.version_info)
        await ask(call, "default", "ROOTCA", version=first.version_info, nonce="0")
        again = response_class.FromString(await call.read())
        assert len(again.resources) == 2
        call.cancel()


@pytest.mark.parametrize("method", [DELTA, STATE])
async def test_what_is_no_request_for_secrets_is_an_invalid_argument(agent, node, method):
    import grpc

    pod = await node.add_pod("web")
    wrong_type = encode_delta_request(DeltaRequest("type.googleapis.com/envoy.config.cluster.v3.Cluster"))
    for body in (b"\xff\xff", wrong_type):
        async with pod.channel() as channel:
            call = channel.stream_stream(method)()
            await call.write(body)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK)
