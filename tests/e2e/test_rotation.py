"""Certificates that live for seconds are renewed under traffic, and no request fails."""

from __future__ import annotations

import json
from typing import Any

from .conftest import Mesh, peer_authentication, pod, poll, service

LIFETIME_SECONDS = 6
# Requests over new connections, from the same pod, until each of the server's certificates has been seen.
CALL = """
import http.client, json, sys, time
statuses, count, ends = {}, 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < ends:
    connection = http.client.HTTPConnection("web", timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        result = answer.status
    except OSError as error:
        result = type(error).__name__
    finally:
        connection.close()
    statuses[str(result)] = statuses.get(str(result), 0) + 1
print(json.dumps(statuses))
"""


def short_lived(name: str, **options: Any) -> dict[str, Any]:
    """A pod with a sidecar whose certificates live for seconds."""
    built = pod(name, sidecar=True, **options)
    proxy = built["spec"]["initContainers"][1]
    proxy["env"] = [{"name": "SECRET_TTL", "value": f"{LIFETIME_SECONDS}s"}]
    return built


def serial_number(mesh: Mesh, namespace: str) -> str:
    """Of the certificate that the server's Envoy presents now."""
    _, status, body = mesh.curl(namespace, "web", "http://127.0.0.1:15000/certs", container="istio-proxy")
    assert status == 200
    chains = [one["cert_chain"][0]["serial_number"] for one in json.loads(body)["certificates"] if one["cert_chain"]]
    return str(chains[0])


def test_certificates_are_rotated_under_traffic_and_no_request_fails(mesh: Mesh, namespace: str) -> None:
    mesh.apply(
        short_lived("web"),
        short_lived("client", image="lateen/sample-curl"),
        service("web"),
        peer_authentication("STRICT"),
        namespace=namespace,
    )
    mesh.wait_ready(namespace, "web", "client")
    poll(lambda: mesh.curl(namespace, "client", "http://web/", container="app")[1], until=lambda status: status == 200)
    first = serial_number(mesh, namespace)
    seconds = str(2 * LIFETIME_SECONDS)
    done = mesh.exec(namespace, "client", "python3", "-c", CALL, seconds, container="app")
    counted = json.loads(done.stdout)
    assert set(counted) == {"200"}, counted
    assert counted["200"] > 100
    assert serial_number(mesh, namespace) != first


def test_a_lifetime_that_is_none_is_told_in_the_pods_status(mesh: Mesh, namespace: str) -> None:
    broken = short_lived("broken")
    broken["spec"]["initContainers"][1]["env"][0]["value"] = "soon"
    mesh.apply(broken, namespace=namespace)
    poll(
        lambda: mesh.kubectl("-n", namespace, "describe", "pod", "broken").stdout,
        until=lambda text: "SECRET_TTL" in text.partition("Status:")[2] and "soon" in text.partition("Events:")[2],
    )
