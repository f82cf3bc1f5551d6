"""Two real Envoys that talk to each other with generated configuration, on loopback and without discovery.

What pods and the agent provide is put in place of the original: secrets stand in the bootstrap, endpoints and routes in
the clusters and listeners; the server's listener is bound to its one port, and its cluster goes to the app.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from mesh_case import Configuration

from lateen.envoy.bootstrap import ProxyIdentity, build_bootstrap
from lateen.envoy.process import EnvoyProcess

CLIENT_ID = "spiffe://cluster.local/ns/default/sa/client"
SERVER_ID = "spiffe://cluster.local/ns/default/sa/server"
SERVER_PORT = 8080  # the target port in the mesh; the listener is bound elsewhere


class Authority:
    """Signs certificates as Citadel does."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
        self._root = self._sign(name, name, self._key.public_key(), [x509.BasicConstraints(True, None)])

    def _sign(self, subject: x509.Name, issuer: x509.Name, key: Any, extensions: list[Any]) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def build_secrets(self, identity: str) -> list[dict[str, Any]]:
        """Return the static secrets of a workload, under the names that the agent serves."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        leaf = self._sign(x509.Name([]), self._root.subject, key.public_key(), [names])
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        root = self._root.public_bytes(Encoding.PEM).decode()
        return [
            {
                "name": "default",
                "tlsCertificate": {
                    "certificateChain": {"inlineString": leaf.public_bytes(Encoding.PEM).decode()},
                    "privateKey": {"inlineString": private},
                },
            },
            {"name": "ROOTCA", "validationContext": {"trustedCa": {"inlineString": root}}},
        ]


@dataclass(frozen=True)
class Ports:
    """Ports on loopback."""

    app: int
    server: int
    client: int
    admin: tuple[int, int]
    other: tuple[int, int, int, int]


def _strip(value: Any) -> Any:
    """Leave out what needs the agent or the pod: SDS sources and socket marks."""
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items() if key not in {"sdsConfig", "socketOptions"}}
    return [_strip(item) for item in value] if isinstance(value, list) else value


def _build(folder: Path, admin: int, others: tuple[int, int], secrets: list[dict[str, Any]]) -> dict[str, Any]:
    bootstrap = build_bootstrap(
        ProxyIdentity(name="pod", namespace="default", ip="127.0.0.1"),
        str(folder / "ads.sock"),
        mark=None,
        admin_port=admin,
        readiness_port=others[0],
        prometheus_port=others[1],
        listener_address="127.0.0.1",
    )
    del bootstrap["dynamicResources"], bootstrap["statsConfig"]
    bootstrap["staticResources"]["secrets"] = secrets
    return bootstrap


def build_server(
    configuration: Configuration, ports: Ports, folder: Path, secrets: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the server's bootstrap: `virtualInbound` on its one port, the app behind it."""
    bootstrap = _build(folder, ports.admin[0], ports.other[:2], secrets)
    document = _strip(configuration.build_document())
    listener = copy.deepcopy(document["listeners"]["virtualInbound"])
    listener["address"]["socketAddress"] = {"address": "127.0.0.1", "portValue": ports.server}
    for chain in listener["filterChains"]:
        match = chain.get("filterChainMatch", {})
        if match.get("destinationPort") == SERVER_PORT:
            match["destinationPort"] = ports.server
    bootstrap["staticResources"]["listeners"].append(listener)
    for cluster in document["clusters"].values():
        if cluster["name"].startswith(("inbound|", "Inbound")):
            cluster = cluster | {"type": "STATIC", "lbPolicy": "ROUND_ROBIN"}
            cluster.pop("cleanupInterval", None)
            cluster["loadAssignment"] = _build_assignment(cluster["name"], ports.app)
        elif cluster["name"] != "BlackHoleCluster":
            continue
        bootstrap["staticResources"]["clusters"].append(cluster)
    return bootstrap


def build_client(
    configuration: Configuration, ports: Ports, listener_name: str, folder: Path, secrets: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the client's bootstrap: one outbound listener, bound, and the clusters behind it."""
    bootstrap = _build(folder, ports.admin[1], ports.other[2:], secrets)
    document = _strip(configuration.build_document())
    listener = copy.deepcopy(document["listeners"][listener_name]) | {"bindToPort": True}
    listener["address"]["socketAddress"] = {"address": "127.0.0.1", "portValue": ports.client}
    for chain in listener["filterChains"]:
        for one in chain["filters"]:
            rds = one["typedConfig"].pop("rds", None)
            if rds is not None:
                one["typedConfig"]["routeConfig"] = document["routes"][rds["routeConfigName"]]
    bootstrap["staticResources"]["listeners"].append(listener)
    for cluster in document["clusters"].values():
        if cluster["name"].startswith(("inbound|", "Inbound")):
            continue
        if cluster.pop("edsClusterConfig", None) is not None:
            assignment = document["endpoints"][cluster["name"]]
            cluster |= {"type": "STATIC", "loadAssignment": _move_endpoints(assignment, ports.server)}
        bootstrap["staticResources"]["clusters"].append(cluster)
    return bootstrap


def _move_endpoints(assignment: dict[str, Any], port: int) -> dict[str, Any]:
    moved = copy.deepcopy(assignment)
    for locality in moved.get("endpoints", []):
        for endpoint in locality["lbEndpoints"]:
            address = endpoint["endpoint"]["address"]
            address["socketAddress"] = {"address": "127.0.0.1", "portValue": port}
    return moved


def _build_assignment(name: str, port: int) -> dict[str, Any]:
    address = {"socketAddress": {"address": "127.0.0.1", "portValue": port}}
    return {"clusterName": name, "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}]}


@asynccontextmanager
async def run_pair(
    server: dict[str, Any], client: dict[str, Any], folder: Path
) -> AsyncIterator[tuple[EnvoyProcess, EnvoyProcess]]:
    """Run both proxies until the block ends: (server's, client's)."""
    for name in ("server", "client"):
        (folder / name).mkdir()
    async with (
        EnvoyProcess(server, folder / "server") as server_envoy,
        EnvoyProcess(client, folder / "client") as client_envoy,
    ):
        await server_envoy.wait_ready()
        await client_envoy.wait_ready()
        yield server_envoy, client_envoy
