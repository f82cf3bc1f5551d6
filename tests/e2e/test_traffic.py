"""Traffic between pods with and without a sidecar: who is served, how, and by which names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Mesh, peer_authentication, pod, poll, service

NAMESPACE = "traffic"
ECHO = ["python3", "-S", "-m", "lateen.samples.tcp_echo", "9000", "echo"]
SAY = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
with socket.create_connection((host, port), 5) as connection:
    connection.sendall(b"ahoy there\\n")
    print(connection.makefile().readline().strip())
"""
RESOLVE = """
import socket, sys
try:
    print(*sorted({found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80)}))
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME and "NXDOMAIN" or error)
"""
SERVERS = ("strict", "permissive", "disabled")


@pytest.fixture(scope="module")
def traffic(mesh: Mesh) -> Iterator[Mesh]:
    """A client with a sidecar, one without, and a server for each mode of PeerAuthentication."""
    mesh.kubectl("create", "namespace", NAMESPACE)
    mesh.apply(
        pod("client", sidecar=True, image="lateen/sample-curl"),
        pod("plain", sidecar=False, image="lateen/sample-curl"),
        *(pod(name, sidecar=True) for name in SERVERS),
        *(service(name) for name in SERVERS),
        peer_authentication("STRICT", "strict"),
        peer_authentication("PERMISSIVE", "permissive"),
        peer_authentication("DISABLE", "disabled"),
        namespace=NAMESPACE,
    )
    mesh.wait_ready(NAMESPACE)
    yield mesh
    mesh.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def ask(mesh: Mesh, caller: str, url: str) -> tuple[int, str]:
    """HTTP status (0 without an answer), and whom the server's sidecar names as the caller."""
    _, status, body = mesh.curl(NAMESPACE, caller, url, container="app")
    try:
        headers: dict[str, str] = json.loads(body)["headers"]
    except (ValueError, KeyError):
        return status, ""
    chain = {name.lower(): value for name, value in headers.items()}.get("x-forwarded-client-cert", "")
    return status, chain.rpartition("URI=")[2]


def script(mesh: Mesh, caller: str, text: str, *arguments: str) -> str:
    """What a Python script prints in the app's container of a pod; empty when it fails."""
    return mesh.exec(NAMESPACE, caller, "python3", "-c", text, *arguments, container="app").stdout.strip()


def address_of(mesh: Mesh, name: str) -> str:
    """A pod's IP address."""
    found = mesh.get("pod", name, NAMESPACE)
    assert found is not None
    return str(found["status"]["podIP"])


IDENTITY = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/default"
OUTCOMES = {
    ("client", "strict"): (200, IDENTITY),
    ("client", "permissive"): (200, IDENTITY),
    ("client", "disabled"): (200, ""),
    ("plain", "strict"): (0, ""),
    ("plain", "permissive"): (200, ""),
    ("plain", "disabled"): (200, ""),
}


@pytest.mark.parametrize(("caller", "server"), sorted(OUTCOMES))
def test_the_mode_decides_who_is_served(traffic: Mesh, caller: str, server: str) -> None:
    expected = OUTCOMES[caller, server]
    poll(lambda: ask(traffic, caller, f"http://{server}/"), until=lambda seen: seen == expected, seconds=10)


def test_a_changed_mode_takes_effect_on_running_pods(traffic: Mesh) -> None:
    traffic.apply(pod("moody", sidecar=True), service("moody"), namespace=NAMESPACE)
    traffic.wait_ready(NAMESPACE, "moody")
    for mode, status in (("STRICT", 0), ("PERMISSIVE", 200), ("STRICT", 0), ("DISABLE", 200)):
        traffic.apply(peer_authentication(mode, "moody"), namespace=NAMESPACE)
        poll(lambda: ask(traffic, "plain", "http://moody/")[0], until=lambda seen, want=status: seen == want)  # type: ignore[misc]
        assert ask(traffic, "client", "http://moody/")[0] == 200


@pytest.mark.parametrize("port", [8080, 15000, 15001, 15006])
@pytest.mark.parametrize("caller", ["plain", "client"])
def test_the_pod_ip_leads_to_the_sidecar_on_every_port(traffic: Mesh, caller: str, port: int) -> None:
    assert ask(traffic, "client", "http://strict/")[0] == 200
    status, _ = ask(traffic, caller, f"http://{address_of(traffic, 'strict')}:{port}/")
    assert status in (0, 502, 503), status


def test_localhost_is_each_pods_own(traffic: Mesh) -> None:
    assert ask(traffic, "strict", "http://127.0.0.1:8080/")[0] == 200
    for caller in ("plain", "client"):
        assert ask(traffic, caller, "http://127.0.0.1:8080/")[0] == 0


def test_pods_have_no_ipv6(traffic: Mesh) -> None:
    connect = "import socket; s = socket.socket(socket.AF_INET6); print(s.connect_ex(('::1', 8080)) != 0)"
    for name in ("strict", "plain"):
        assert script(traffic, name, "print(open('/proc/net/if_inet6').read())") == ""
        assert script(traffic, name, connect) == "True"


PROBES: dict[str, dict[str, Any]] = {
    "http": {"httpGet": {"path": "/healthz", "port": 8080}},
    "tcp": {"tcpSocket": {"port": 8080}},
    "exec": {"exec": {"command": ["python3", "-c", "pass"]}},
}


def test_probes_of_every_kind_pass_under_strict(traffic: Mesh) -> None:
    names = {f"probed-{kind}": {**probe, "periodSeconds": 1, "timeoutSeconds": 5} for kind, probe in PROBES.items()}
    traffic.apply(
        *(peer_authentication("STRICT", name) for name in names),
        *(pod(name, sidecar=True, readinessProbe=probe) for name, probe in names.items()),
        namespace=NAMESPACE,
    )
    traffic.wait_ready(NAMESPACE, *names)
    assert ask(traffic, "plain", f"http://{address_of(traffic, 'probed-http')}:8080/")[0] == 0


def test_a_probe_that_fails_keeps_the_pod_out_of_its_service(traffic: Mesh) -> None:
    probe = {"httpGet": {"path": "/status/500", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    traffic.apply(pod("sick", sidecar=True, readinessProbe=probe), service("sick"), namespace=NAMESPACE)
    jsonpath = "jsonpath={.status.containerStatuses[0].state.running.startedAt}"
    poll(lambda: traffic.kubectl("-n", NAMESPACE, "get", "pod", "sick", "-o", jsonpath, check=False).stdout)
    poll(lambda: ask(traffic, "client", "http://sick/")[0], until=lambda status: status == 503)
    assert ask(traffic, "plain", "http://sick/")[0] == 0


def test_tcp_services_carry_mtls_too(traffic: Mesh) -> None:
    traffic.apply(
        pod("echo", sidecar=True, command=ECHO),
        service("echo", 9000, 9000, "tcp"),
        peer_authentication("STRICT", "echo"),
        namespace=NAMESPACE,
    )
    traffic.wait_ready(NAMESPACE, "echo")
    poll(
        lambda: script(traffic, "client", SAY, "echo", "9000"), until=lambda line: line == "echo ahoy there", seconds=10
    )
    poll(lambda: script(traffic, "plain", SAY, "echo", "9000"), until=lambda line: line == "", seconds=10)
    assert script(traffic, "client", SAY, "echo", "9000") == "echo ahoy there"


def test_headless_services_lead_to_their_pods_with_mtls(traffic: Mesh) -> None:
    headless, echo = service("headless", 8080), service("headless-echo", 9000, 9000, "tcp")
    for one, app in ((headless, "strict"), (echo, "headless-echo")):
        one["spec"] |= {"clusterIP": "None", "selector": {"app": app}}
    traffic.apply(headless, echo, pod("headless-echo", sidecar=True, command=ECHO), namespace=NAMESPACE)
    traffic.wait_ready(NAMESPACE, "headless-echo")
    assert poll(lambda: script(traffic, "client", RESOLVE, "headless")) == address_of(traffic, "strict")
    expected = (200, IDENTITY)
    poll(lambda: ask(traffic, "client", "http://headless:8080/"), until=lambda seen: seen == expected, seconds=10)
    assert ask(traffic, "plain", "http://headless:8080/")[0] == 0
    poll(lambda: script(traffic, "client", SAY, "headless-echo", "9000"), until=lambda line: line == "echo ahoy there")


def test_cluster_ips_serve_pods_without_sidecars(traffic: Mesh) -> None:
    both = service("both")
    both["spec"]["selector"] = {"tier": "both"}
    backends = [pod(name, sidecar=False) for name in ("left", "right")]
    for backend in backends:
        backend["metadata"]["labels"]["tier"] = "both"
    traffic.apply(both, *backends, namespace=NAMESPACE)
    traffic.wait_ready(NAMESPACE, "left", "right")
    found = traffic.get("service", "both", NAMESPACE)
    assert found is not None
    for host in ("both", found["spec"]["clusterIP"]):
        seen: set[str] = set()

        def answered(host: str = host, seen: set[str] = seen) -> set[str]:
            status, body = traffic.curl(NAMESPACE, "plain", f"http://{host}/", container="app")[1:]
            seen |= {json.loads(body)["pod"]} if status == 200 else set()
            return seen

        poll(answered, until=lambda pods: pods == {"left", "right"})
    poll(lambda: ask(traffic, "client", "http://both/"), until=lambda seen: seen == (200, ""), seconds=10)


def test_pods_resolve_services_by_every_usual_name(traffic: Mesh) -> None:
    found = traffic.get("service", "strict", NAMESPACE)
    assert found is not None
    suffixes = ("", f".{NAMESPACE}", f".{NAMESPACE}.svc", f".{NAMESPACE}.svc.cluster.local")
    for caller in ("client", "plain"):
        for suffix in suffixes:
            assert script(traffic, caller, RESOLVE, f"strict{suffix}") == found["spec"]["clusterIP"], suffix
        assert script(traffic, caller, RESOLVE, "kubernetes.default") == "10.96.0.1"
        assert script(traffic, caller, RESOLVE, f"nobody.{NAMESPACE}.svc.cluster.local") == "NXDOMAIN"


def test_a_service_in_another_namespace_is_reached_by_its_qualified_name(traffic: Mesh, namespace: str) -> None:
    traffic.apply(pod("far", sidecar=True), service("far"), namespace=namespace)
    traffic.wait_ready(namespace, "far")
    url = f"http://far.{namespace}/"
    poll(lambda: ask(traffic, "client", url), until=lambda seen: seen == (200, IDENTITY), seconds=10)
