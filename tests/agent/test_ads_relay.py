"""ADS through the agent: whose name and token reach discovery, and what happens when one of the three dies."""

import asyncio

import grpc
import pytest

from lateen.agent.node_field import DELTA_NODE_FIELD, NodeStamp
from lateen.base.errors import DataError
from lateen.envoy.messages import encode, message_class
from lateen.runtime.agent_control import AddPod
from lateen.testing.poll import until
from lateen.xds.messages import ADS_SERVICE, DELTA_METHOD, STATE_METHOD
from lateen.xds.resources import CLUSTER, encode_field

ADS_DELTA = f"/{ADS_SERVICE}/{DELTA_METHOD}"


def make_request(*, node=None, version=""):
    request = message_class("envoy.service.discovery.v3.DeltaDiscoveryRequest")(type_url=CLUSTER)
    if node is not None:
        request.node.CopyFrom(node)
    if version:
        request.initial_resource_versions["outbound|80||web"] = version
    return encode(request)


def make_node(**metadata):
    node = message_class("envoy.config.core.v3.Node")(
        id="sidecar~10.0.0.9~admin.kube-system~kube-system.svc.cluster.local",
        cluster="admin.kube-system",
        user_agent_name="envoy",
        extensions=[{"name": "envoy.filters.http.router"}],
    )
    node.metadata.update({"NAMESPACE": "kube-system", "SERVICE_ACCOUNT": "admin", "ISTIO_VERSION": "1.32.0"})
    node.metadata.update(metadata)
    return node


def read_request(body):
    return message_class("envoy.service.discovery.v3.DeltaDiscoveryRequest").FromString(body)


async def first_call(discovery, number=1):
    await until(lambda: len(discovery.calls) >= number and discovery.calls[number - 1].requests, what="a call")
    return discovery.calls[number - 1]


async def test_discovery_sees_the_pod_that_owns_the_socket_whatever_the_proxy_says(agent, node, discovery):
    pod = await node.add_pod("web", labels={"app": "web"})
    async with pod.channel() as channel:
        call = channel.stream_stream(ADS_DELTA)()
        await call.write(make_request(node=make_node(LABELS={"app": "admin"}), version="v1"))
        seen = await first_call(discovery)
        call.cancel()
    request = read_request(seen.requests[0])
    metadata = dict(request.node.metadata)
    assert seen.token == "shop/web"
    assert request.node.id == "sidecar~127.0.0.1~web.shop~shop.svc.cluster.local"
    assert (metadata["NAMESPACE"], metadata["NAME"], metadata["SERVICE_ACCOUNT"]) == ("shop", "web", "web")
    assert dict(metadata["LABELS"]) == {"app": "web"}
    assert metadata["ISTIO_VERSION"] == "1.32.0"
    assert request.node.user_agent_name == "envoy"
    assert not request.node.extensions
    assert dict(request.initial_resource_versions) == {"outbound|80||web": "v1"}
    await until(lambda: seen.ended, what="discovery knows that the proxy left")


async def test_a_later_request_cannot_change_the_node_and_bytes_pass_untouched(agent, node, discovery):
    pod = await node.add_pod("web")
    unknown = encode_field(15, b"from the future")
    async with pod.channel() as channel:
        call = channel.stream_stream(ADS_DELTA)()
        for body in (make_request(), make_request() + unknown, make_request(node=make_node())):
            await call.write(body)
        seen = await first_call(discovery)
        await until(lambda: len(seen.requests) == 3)
        seen.answers.put_nowait(b"\x0a\x03one")
        seen.answers.put_nowait(b"")
        assert await call.read() == b"\x0a\x03one"
        assert await call.read() == b""
        call.cancel()
    assert read_request(seen.requests[0]).node.id.startswith("sidecar~127.0.0.1~web.shop~")
    assert seen.requests[1] == make_request() + unknown
    assert read_request(seen.requests[2]).node.metadata["NAMESPACE"] == "shop"


async def test_state_of_the_world_is_relayed_too(agent, node, discovery):
    pod = await node.add_pod("web")
    request = message_class("envoy.service.discovery.v3.DiscoveryRequest")(
        type_url=CLUSTER, resource_names=["a"], node=make_node()
    )
    async with pod.channel() as channel:
        call = channel.stream_stream(f"/{ADS_SERVICE}/{STATE_METHOD}")()
        await call.write(encode(request))
        seen = await first_call(discovery)
        call.cancel()
    got = type(request).FromString(seen.requests[0])
    assert seen.method == STATE_METHOD
    assert list(got.resource_names) == ["a"]
    assert got.node.metadata["SERVICE_ACCOUNT"] == "web"


async def test_a_stream_ends_with_discovery_and_the_next_one_waits_for_its_return(agent, node, discovery):
    pod = await node.add_pod("web")
    async with pod.channel() as channel:
        call = channel.stream_stream(ADS_DELTA)()
        await call.write(make_request())
        await first_call(discovery)
        await discovery.stop()
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
        waiting = channel.stream_stream(ADS_DELTA)()
        await waiting.write(make_request(version="v2"))
        reading = asyncio.create_task(waiting.read())
        await asyncio.sleep(0)
        assert len(discovery.calls) == 1
        await discovery.start()
        seen = await first_call(discovery, 2)
        assert dict(read_request(seen.requests[0]).initial_resource_versions) == {"outbound|80||web": "v2"}
        seen.answers.put_nowait(b"back")
        assert await reading == b"back"
        waiting.cancel()


async def test_a_discovery_with_another_root_is_not_spoken_to_until_the_root_file_says_so(agent, node, discovery):
    pod = await node.add_pod("web")
    await discovery.stop()
    discovery.add_root()
    discovery.sign_with_new_root()
    await discovery.start()
    async with pod.channel() as channel:
        call = channel.stream_stream(ADS_DELTA)()
        await call.write(make_request())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await first_call(discovery)
        discovery.root_cert.write_bytes(discovery.authority.roots_pem)
        await first_call(discovery)
        call.cancel()


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc"], ids=["no message", "cut short"])
async def test_what_is_no_request_never_reaches_discovery(agent, node, discovery, body):
    pod = await node.add_pod("web")
    async with pod.channel() as channel:
        call = channel.stream_stream(ADS_DELTA)()
        await call.write(body)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert all(not call.requests for call in discovery.calls)


def test_a_node_field_given_twice_does_not_slip_through():
    pod = AddPod(
        uid="u",
        name="web",
        namespace="shop",
        ip="10.244.0.7",
        service_account="web",
        ads_socket="",
        token_file="",
        root_cert_file="",
    )
    twice = make_request(node=make_node()) + encode_field(DELTA_NODE_FIELD, encode(make_node(NAMESPACE="istio-system")))
    for first in (True, False):
        stamped = read_request(NodeStamp(pod).stamp(twice, DELTA_NODE_FIELD, first=first))
        assert stamped.node.id == "sidecar~10.244.0.7~web.shop~shop.svc.cluster.local"
        assert stamped.node.metadata["NAMESPACE"] == "shop"
    with pytest.raises(DataError):
        NodeStamp(pod).stamp(encode_field(DELTA_NODE_FIELD, b"\xff\xff"), DELTA_NODE_FIELD, first=True)
