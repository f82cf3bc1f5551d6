"""What the daemon does before it imports itself: ports, keys, the API's socket, and its children under way.

Flow: state directory -> ports -> keys and kubeconfigs -> listening socket -> discovery and agent started -> `Launch`.
An interpreter takes most of a start to import its program; here three of them do so side by side. The API's socket
listens before anybody answers on it: who is early waits in its queue and is served first.
Invariants: imports little; a child dies with the daemon, so nothing is left behind when the rest of the start fails.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from lateen.cluster.pki import Pki, open_pki, write_kubeconfig
from lateen.cluster.ports import choose_ports, listen_on
from lateen.cluster.state import COMPONENTS, StateDir
from lateen.cluster.supervise import Child

_EARLY_CLIENTS = 128


@dataclass(frozen=True)
class Launch:
    """A cluster under way."""

    state: StateDir
    ports: dict[str, int]
    pki: Pki
    listener: socket.socket
    discovery: Child
    agent: Child

    @property
    def server(self) -> str:
        """URL of the API server."""
        return format_server(self.ports)

    @property
    def agent_control(self) -> Path:
        """The agent's control socket."""
        return find_agent_control(self.state)

    def close(self) -> None:
        """End what the event loop did not get to end."""
        for child in (self.discovery, self.agent):
            child.close()
        self.listener.close()


def launch(state: StateDir, *, automatic_ports: bool) -> Launch:
    """Open the API's port and start the children; raises a LateenError when a port or the keys cannot be used."""
    ports = choose_ports(state, automatic=automatic_ports)
    pki = open_pki(state.pki)
    for user in ("admin", *COMPONENTS):
        path = state.kubeconfig if user == "admin" else state.component_kubeconfig(user)
        write_kubeconfig(path, server=format_server(ports), ca_pem=pki.ca_pem, token=pki.tokens[user], user=user)
    listener = listen_on(ports["api"])
    listener.listen(_EARLY_CLIENTS)
    under_way = Launch(state, ports, pki, listener, _build_discovery(state, ports), _build_agent(state, ports))
    for child in (under_way.discovery, under_way.agent):
        child.start()
    return under_way


def format_server(ports: dict[str, int]) -> str:
    """URL of the API server on these ports."""
    return f"https://127.0.0.1:{ports['api']}"


def find_agent_control(state: StateDir) -> Path:
    """Where the agent listens for the node."""
    return state.runtime / "agent.sock"


def _build_discovery(state: StateDir, ports: dict[str, int]) -> Child:
    arguments = [
        *("--kubeconfig", str(state.component_kubeconfig("discovery"))),
        *("--ads-port", str(ports["ads"]), "--tls-port", str(ports["tls"])),
        *("--webhook-port", str(ports["webhook"])),
        *("--http-port", str(ports["http"]), "--monitoring-port", str(ports["monitoring"])),
        "--die-with-parent",
    ]
    return _build_child(state, "discovery", "lateen.pilot.main", arguments)


def _build_agent(state: StateDir, ports: dict[str, int]) -> Child:
    arguments = [
        *("--control", str(find_agent_control(state)), "--discovery", f"127.0.0.1:{ports['tls']}"),
        *("--root-cert", str(state.mesh_root_cert), "--die-with-parent"),
    ]
    return _build_child(state, "agent", "lateen.agent.main", arguments)


def _build_child(state: StateDir, name: str, module: str, arguments: list[str]) -> Child:
    command = [sys.executable, "-m", module, *arguments]
    return Child(name, command, state.logs / f"{name}.log", dict(os.environ))
