"""proxy-status, proxy-config, describe, exec and image on a real mesh, as istioctl's users call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Mesh, poll, service

APP = """
from http.server import BaseHTTPRequestHandler, HTTPServer
import os
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.getcwd().encode())
HTTPServer(("", 8080), Handler).serve_forever()
"""


def deploy(mesh: Mesh, namespace: str, name: str, image: str) -> None:
    """A Deployment and its Service in a namespace with injection, ready."""
    labels = {"app": name, "version": "v1"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": image, "ports": [{"containerPort": 8080}]}]},
    }
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    mesh.kubectl("label", "namespace", namespace, "istio-injection=enabled", "--overwrite")
    mesh.apply(document, service(name), namespace=namespace)
    mesh.kubectl("-n", namespace, "rollout", "status", f"deploy/{name}", "--timeout=60s")


def test_what_a_proxy_has_is_shown_by_the_name_of_its_workload(mesh: Mesh, namespace: str) -> None:
    deploy(mesh, namespace, "web", "lateen/sample-http")
    host = f"web.{namespace}.svc.cluster.local"
    for word in (f"deploy/web.{namespace}", f"svc/web.{namespace}"):
        table = mesh.lateen("pc", "cluster", word, "--fqdn", host).stdout.splitlines()
        assert table[0].split() == ["SERVICE", "FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION", "RULE"]
        assert table[1].split() == [host, "80", "-", "outbound", "EDS"]
    target = ["deploy/web", "-n", namespace]
    endpoints = mesh.lateen("pc", "ep", *target, "--cluster", f"outbound|80||{host}").stdout.splitlines()
    assert endpoints[1].split()[1:] == ["HEALTHY", "OK", f"outbound|80||{host}"]
    listeners = mesh.lateen("proxy-config", "listeners", *target, "--port", "15006", "--verbose=false").stdout
    assert listeners.splitlines()[1].split() == ["0.0.0.0", "15006", "HTTP+TCP"]
    routes = json.loads(mesh.lateen("pc", "r", *target, "--name", "80", "-o", "json").stdout)
    assert f"{host}:80" in [each["name"] for each in routes[0]["virtualHosts"]]
    secrets = mesh.lateen("pc", "s", *target).stdout.splitlines()
    assert [line.split()[0] for line in secrets[1:]] == ["default", "ROOTCA"]
    assert "Envoy Version:" in mesh.lateen("pc", "bootstrap", *target).stdout
    assert "endpoint/" in mesh.lateen("pc", "all", *target).stdout
    levels = mesh.lateen("pc", "log", *target, "--level", "rbac:debug").stdout
    assert "rbac: debug" in levels


def test_every_proxy_has_what_discovery_sent_it(mesh: Mesh, namespace: str) -> None:
    deploy(mesh, namespace, "web", "lateen/sample-http")

    def states() -> list[str]:
        lines = mesh.lateen("proxy-status", "-v", "1", "-n", namespace).stdout.splitlines()
        return lines[1].split()[2:6] if len(lines) == 2 else []

    assert poll(states, until=lambda found: found == ["SYNCED"] * 4) == ["SYNCED"] * 4
    matches = ["Clusters Match", "Listeners Match", "Routes Match"]
    poll(lambda: mesh.lateen("ps", f"deploy/web.{namespace}").stdout.splitlines(), until=lambda found: found == matches)


def test_describe_tells_rules_and_the_proxy_that_really_runs(mesh: Mesh, namespace: str) -> None:
    deploy(mesh, namespace, "web", "lateen/sample-http")
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web"},
        "spec": {"host": "web", "subsets": [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]},
    }
    routes = [{"route": [{"destination": {"host": "web", "subset": "v1"}}]}]
    virtual_service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {"hosts": ["web"], "http": routes},
    }
    mesh.apply(rule, virtual_service, namespace=namespace)

    def describe() -> str:
        return mesh.lateen("describe", "pod", "deploy/web", "-n", namespace).stdout

    text = poll(describe, until=lambda found: "VirtualService: web" in found)
    assert "Proxy: Envoy 1." in text
    assert "   Port: http 80/HTTP targets pod port 8080" in text
    assert 'DestinationRule: web for "web"\n   Matching subsets: v1\n      (Non-matching subsets v2)' in text
    assert "VirtualService: web\n   1 HTTP route(s)" in text
    assert "   Workload mTLS mode: PERMISSIVE" in text
    assert "Service: web" in mesh.lateen("describe", "svc", "web", "-n", namespace).stdout


def test_pilot_agent_answers_as_in_istios_image(mesh: Mesh, namespace: str) -> None:
    deploy(mesh, namespace, "web", "lateen/sample-http")
    done = mesh.exec(namespace, "deploy/web", "pilot-agent", "request", "GET", "stats", container="istio-proxy")
    assert "cluster_manager.active_clusters: " in done.stdout
    asked = mesh.lateen("exec", "deploy/web", "-n", namespace, "-c", "app", "--", "curl", "-s", "http://web/healthz")
    assert asked.stdout == "ok\n"


def test_an_image_that_was_added_runs_and_stays(mesh: Mesh, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    name = f"registry.example.com/me/{namespace}:1"
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "own"},
        "spec": {"containers": [{"name": "app", "image": name}], "terminationGracePeriodSeconds": 1},
    }
    mesh.apply(document, namespace=namespace)

    def reason() -> str:
        states = mesh.get("pod", "own", namespace)["status"].get("containerStatuses", [{}])  # type: ignore[index]
        return json.dumps(states)

    assert f"lateen image add me/{namespace} -- COMMAND" in poll(reason, until=lambda text: "ErrImagePull" in text)
    mesh.lateen("image", "add", name, "--directory", str(tmp_path), "--", "python3", "app.py")
    mesh.kubectl("-n", namespace, "delete", "pod", "own")
    mesh.apply(document, namespace=namespace)
    mesh.wait_ready(namespace, "own")
    seen = poll(
        lambda: mesh.exec(namespace, "own", "python3", "-c", _FETCH).stdout, until=lambda text: bool(text.strip())
    )
    assert seen.strip() == str(tmp_path)
    assert f"me/{namespace}" in mesh.lateen("image", "list").stdout
    mesh.lateen("image", "remove", name)
    assert f"me/{namespace}" not in mesh.lateen("image", "list").stdout


_FETCH = """
import urllib.request
try: print(urllib.request.urlopen("http://127.0.0.1:8080/").read().decode())
except OSError: pass
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pc", "cluster", "deploy/nothing"), "nothing"),
        (("pc", "cluster", "nothing.nowhere"), "nothing"),
        (("exec", "deploy/nothing", "--", "true"), "nothing"),
    ],
    ids=["deployment", "pod", "exec"],
)
def test_what_does_not_exist_is_named(mesh: Mesh, words: tuple[str, ...], message: str) -> None:
    done = mesh.lateen(*words, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
