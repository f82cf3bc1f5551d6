"""A real Envoy with the sidecar's own bootstrap, its ADS relayed to a discovery that the test plays."""

from agent_envoys import HCM

from lateen.envoy.bootstrap import ProxyIdentity, build_bootstrap
from lateen.envoy.messages import build_message
from lateen.envoy.process import EnvoyProcess
from lateen.testing.poll import until
from lateen.xds.messages import decode_delta_request, encode_delta_response
from lateen.xds.resources import CLUSTER, LISTENER, build_resource


def make_cluster():
    return build_resource(
        build_message(
            "envoy.config.cluster.v3.Cluster",
            {"name": "outbound|80||web", "type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED"},
        )
    )


def make_listener():
    answer = {"match": {"prefix": "/"}, "directResponse": {"status": 200}}
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": HCM,
        "statPrefix": "x",
        "routeConfig": {"virtualHosts": [{"name": "x", "domains": ["*"], "routes": [answer]}]},
        "httpFilters": [{"name": "envoy.filters.http.router", "typedConfig": router}],
    }
    document = {
        "name": "0.0.0.0_80",
        "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 0}},
        "filterChains": [{"filters": [{"name": "hcm", "typedConfig": manager}]}],
    }
    return build_resource(build_message("envoy.config.listener.v3.Listener", document))


RESOURCES = {CLUSTER: make_cluster(), LISTENER: make_listener()}


def requests_of(call, type_url):
    decoded = [decode_delta_request(body) for body in call.requests]
    return [request for request in decoded if request.type_url == type_url]


async def play(discovery, number):
    """Answer a call's first requests with what is missing; return the names that had to be sent."""
    await until(lambda: len(discovery.calls) >= number, what=f"call {number}")
    call, sent = discovery.calls[number - 1], []
    for type_url, resource in RESOURCES.items():
        (first, *_) = await until(lambda wanted=type_url: requests_of(call, wanted), what=f"a request for {type_url}")
        missing = first.versions.get(resource.name) != resource.version
        sent += [resource.name] if missing else []
        body = resource.body if missing else b""
        call.answers.put_nowait(encode_delta_response(type_url, f"{number}-{type_url}", body))
    return sent


async def test_a_restart_of_discovery_or_agent_resends_nothing_and_the_proxy_stays_ready(
    agent, node, discovery, tmp_path
):
    pod = await node.add_pod("web")
    identity = ProxyIdentity(name="liar", namespace="kube-system", ip="10.9.9.9")
    ports = dict.fromkeys(("admin_port", "agent_port", "readiness_port", "prometheus_port"), 0)
    ports["agent_port"] = pod.status_port
    bootstrap = build_bootstrap(identity, pod.ads_socket, mark=None, listener_address="127.0.0.1", **ports)
    async with EnvoyProcess(bootstrap, tmp_path) as envoy:
        admin = (tmp_path / "admin-address").read_text().rpartition(":")[2]
        node.routes["web", 15000] = int(admin)
        status, text = await pod.get("/healthz/ready")
        assert status == 503
        assert "no clusters and no listeners" in text
        assert await play(discovery, 1) == ["outbound|80||web", "0.0.0.0_80"]
        await until(lambda: is_ready(pod), what="the proxy is ready")
        assert decode_delta_request(discovery.calls[0].requests[0]).node.count(b"sidecar~127.0.0.1~web.shop~") == 1

        await discovery.stop()
        assert await is_ready(pod)
        await discovery.start()
        assert await play(discovery, 2) == []

        await agent.kill()
        await agent.start()
        assert await play(discovery, 3) == []
        await until(lambda: is_ready(pod), what="the proxy is ready again")
        stats = await envoy.admin.get_stats("update_rejected")
        assert not any(stats.values())


async def is_ready(pod):
    try:
        return (await pod.get("/healthz/ready"))[0] == 200
    except (OSError, IndexError, ValueError):
        return False
