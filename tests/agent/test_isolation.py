"""What one pod's proxy, and a thief of the disk, can and cannot reach."""

import os
import stat
from pathlib import Path

import pytest

from lateen.base.errors import UnavailableError
from lateen.testing.poll import until


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def find_files_with(content: bytes, folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if content in path.read_bytes()]


def exists(path: str) -> bool:
    return os.path.exists(path)


async def test_a_pods_socket_is_its_users_alone_in_a_folder_of_its_own(agent, node):
    pods = [await node.add_pod(name) for name in ("one", "two")]
    for pod in pods:
        path = Path(pod.ads_socket)
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700
        assert os.listdir(path.parent) == ["ads.sock"]
    assert mode(node.control) == 0o600


async def test_private_keys_never_touch_a_file(agent, node, discovery):
    await node.add_pod("web")
    await until(lambda: discovery.issued >= 1, what="the pod has its certificate")
    await until(lambda: "certificate renewed" in agent.log.read_text())
    assert not find_files_with(b"PRIVATE KEY", node.folder)
    opened = {os.readlink(f"/proc/{agent.pid}/fd/{number}") for number in os.listdir(f"/proc/{agent.pid}/fd")}
    regular = {target for target in opened if target.startswith("/") and not target.startswith(("/dev/", "/proc/"))}
    assert regular == {str(agent.log)}


async def test_a_removed_pod_leaves_no_socket_and_no_listener(agent, node):
    pod = await node.add_pod("web")
    assert (await pod.get("/nothing"))[0] == 404
    await node.client.remove_pod("web")
    assert not exists(pod.ads_socket)


async def test_a_pod_whose_socket_cannot_be_made_is_refused_with_the_reason(agent, node):
    with pytest.raises(UnavailableError, match="longer than"):
        await node.add_pod("x" * 110)
    assert (await node.add_pod("web")).spec.name == "web"


async def test_a_pod_added_again_is_served_under_its_new_description(agent, node):
    await node.add_pod("web")
    pod = await node.add_pod("web", probes={"/app-health/web/livez": {"tcpSocket": {"port": 1}}})
    assert (await pod.get("/app-health/web/livez"))[0] == 500


async def test_the_pods_of_a_node_that_went_away_are_no_longer_served(agent, node):
    pod = await node.add_pod("web")
    await node.stop()
    await until(lambda: not exists(pod.ads_socket), what="the socket is gone")


@pytest.mark.parametrize(
    "request_text",
    [
        "nonsense\r\n\r\n",
        "GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/2\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET /" + "x" * 40000 + " HTTP/1.1\r\n\r\n",
    ],
    ids=["no HTTP", "proxy form", "version", "header", "chunked", "huge body", "negative", "huge head"],
)
async def test_bad_http_is_answered_with_400_and_the_connection_ends(agent, node, request_text):
    pod = await node.add_pod("web")
    assert (await pod.send(request_text)).startswith(b"HTTP/1.1 400 ")


async def test_a_connection_serves_several_requests(agent, node):
    pod = await node.add_pod("web")
    request = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    post = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    last = "HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await pod.send(request + post + last)
    assert answer.count(b"HTTP/1.1 404") == 3
    assert answer.endswith(b"Connection: close\r\n\r\n")
