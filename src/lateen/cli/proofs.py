"""What `lateen demo` proves on the running pods of `two-pods.yaml`, one function per claim.

Each proof drives real traffic from inside a pod and reads what the other side saw; it returns the
evidence as one sentence or raises `Disproved`. A claim that something is refused also shows that the
target is alive, so that a dead server proves nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

NAMESPACE = "demo"
CLIENT_ID = "spiffe://cluster.local/ns/demo/sa/client"
SERVER_ID = "spiffe://cluster.local/ns/demo/sa/server"
_PATIENCE_SECONDS = 5.0


class Disproved(Exception):
    """The mesh does not do what the demo claims; the text says what was seen instead."""


@dataclass(frozen=True)
class Answer:
    """Result of one `curl` inside a pod: exit code, HTTP status (0 without an answer) and body."""

    exit_code: int
    status: int
    body: str

    @property
    def headers_received(self) -> dict[str, str]:
        """Request headers as the sample server saw them, names in lower case."""
        try:
            headers: dict[str, str] = json.loads(self.body)["headers"]
        except (ValueError, KeyError):
            return {}
        return {name.lower(): value for name, value in headers.items()}


class Scene(Protocol):
    """The running demo, seen from outside."""

    def run(self, pod: str, container: str, command: list[str]) -> tuple[int, str]:
        """Run a command in a container; its exit code and standard output."""

    def pod(self, name: str) -> dict[str, Any]:
        """The Pod as the API server has it."""


@dataclass(frozen=True)
class Proof:
    """A claim and the function that shows it."""

    name: str
    claim: str
    show: Callable[[Scene], str]


def curl(scene: Scene, pod: str, url: str, *, container: str = "curl") -> Answer:
    """One request from inside a pod, without retries."""
    command = ["curl", "-s", "--max-time", "5", "-w", "\n%{http_code}", url]
    code, output = scene.run(pod, container, command)
    body, _, status = output.rpartition("\n")
    return Answer(code, int(status) if status.isdigit() else 0, body)


def eventually(attempt: Callable[[], str]) -> str:
    """Repeat until the proof holds or patience ends; configuration takes a moment to reach all Envoys."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except Disproved:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def two_sidecars(scene: Scene) -> str:
    """A request crosses the client's and the server's sidecar."""

    def attempt() -> str:
        answer = curl(scene, "client", "http://hello/")
        if answer.status != 200:
            raise Disproved(f"the request ended with curl status {answer.exit_code}, HTTP {answer.status}")
        chain = answer.headers_received.get("x-forwarded-client-cert", "")
        if "URI=spiffe://" not in chain:
            raise Disproved("the server saw no client certificate: one of the sidecars was not crossed")
        return "http://hello/ answered 200, and the server's sidecar vouches for the client's certificate"

    return eventually(attempt)


def both_identities(scene: Scene) -> str:
    """Client and server prove their SPIFFE identities to each other."""

    def attempt() -> str:
        answer = curl(scene, "client", "http://secure:8000/")
        chain = answer.headers_received.get("x-forwarded-client-cert", "")
        server = re.search(r"By=([^;,]+)", chain)
        client = re.search(r"URI=([^;,]+)", chain)
        seen = (server.group(1) if server else "nobody", client.group(1) if client else "nobody")
        if seen != (SERVER_ID, CLIENT_ID):
            raise Disproved(f"server {seen[0]}, client {seen[1]} (HTTP {answer.status})")
        return f"{seen[1]} called {seen[0]}"

    return eventually(attempt)


def strict_refuses(scene: Scene) -> str:
    """STRICT refuses a pod without a sidecar."""
    _require_alive(scene, "secure")

    def attempt() -> str:
        answer = curl(scene, "plain", "http://secure:8000/")
        if answer.status or answer.exit_code == 0:
            raise Disproved(f"plain text got HTTP {answer.status} from a STRICT workload")
        if answer.exit_code in (6, 7):
            raise Disproved(f"the request did not reach the sidecar (curl status {answer.exit_code})")
        return f"plain text to http://secure:8000/ was cut off (curl status {answer.exit_code})"

    return eventually(attempt)


def permissive_serves(scene: Scene) -> str:
    """PERMISSIVE serves a pod without a sidecar."""

    def attempt() -> str:
        answer = curl(scene, "plain", "http://hello/")
        if answer.status != 200:
            raise Disproved(f"plain text ended with curl status {answer.exit_code}, HTTP {answer.status}")
        if "URI=" in answer.headers_received.get("x-forwarded-client-cert", ""):
            raise Disproved("the request claims a client certificate that a plain pod does not have")
        return "plain text to http://hello/ answered 200"

    return eventually(attempt)


def probes_work(scene: Scene) -> str:
    """Readiness probes pass under STRICT."""

    def attempt() -> str:
        conditions = scene.pod("guarded").get("status", {}).get("conditions", [])
        ready = {condition["type"]: condition["status"] for condition in conditions}.get("Ready")
        if ready != "True":
            raise Disproved(f"pod guarded has condition Ready={ready}")
        return "pod guarded is Ready by its HTTP probe"

    return eventually(attempt)


def no_way_round(scene: Scene) -> str:
    """Pod IP, localhost and IPv6 do not lead past the sidecar."""
    _require_alive(scene, "guarded")
    address = scene.pod("guarded").get("status", {}).get("podIP", "")

    def attempt() -> str:
        for pod in ("plain", "client"):
            answer = curl(scene, pod, f"http://{address}:8080/")
            if answer.status == 200:
                raise Disproved(f"http://{address}:8080/ from pod {pod} got past STRICT in plain text")
        return "the pod IP is refused in plain text"

    seen = eventually(attempt)
    addresses = _ipv6_addresses(scene, "guarded")
    if addresses:
        raise Disproved(f"pod guarded has IPv6 addresses that nothing intercepts: {', '.join(addresses)}")
    for pod in ("plain", "client"):
        if curl(scene, pod, "http://127.0.0.1:8080/").status == 200:
            raise Disproved(f"pod {pod} reaches another pod's server on its own localhost")
    return f"{seen}, there is no IPv6 address, and localhost is each pod's own"


def _require_alive(scene: Scene, pod: str) -> None:
    def attempt() -> str:
        answer = curl(scene, pod, "http://127.0.0.1:8080/", container="app")
        if answer.status != 200:
            raise Disproved(f"the app of pod {pod} does not answer on its own localhost")
        return ""

    eventually(attempt)


def _ipv6_addresses(scene: Scene, pod: str) -> list[str]:
    code, text = scene.run(pod, "app", ["cat", "/proc/net/if_inet6"])
    if code != 0:
        return []
    return [line.split()[0] for line in text.splitlines() if line.strip()]


PROOFS = (
    Proof("two-sidecars", "a request goes through two Envoy sidecars", two_sidecars),
    Proof("identities", "both sides present their SPIFFE certificates", both_identities),
    Proof("strict", "STRICT refuses a pod without a sidecar", strict_refuses),
    Proof("permissive", "PERMISSIVE serves a pod without a sidecar", permissive_serves),
    Proof("probes", "readiness probes work under STRICT", probes_work),
    Proof("no-way-round", "no way leads round the sidecar", no_way_round),
)
