"""Which ports of 127.0.0.1 the cluster listens on: Istio's own, or free ones that stay the same over restarts.

`choose_ports(state, automatic=...)` -> name -> port. With `automatic` a port that was free the first time is kept in
`DIR/ports.json`, so that kubeconfigs stay valid; one that is taken now is replaced. Without, a taken port is an error
that names it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from lateen.base.errors import ConflictError
from lateen.cluster.state import StateDir

STANDARD = {"api": 6443, "ads": 15010, "tls": 15012, "monitoring": 15014, "webhook": 15017, "http": 8080}
"""The API server's port as kubeadm chooses it, and istiod's."""


def find_relays(ports: Mapping[str, int]) -> dict[int, int]:
    """Port of the node's bridge -> port of 127.0.0.1: how pods reach the API server and istiod, on Istio's ports."""
    istiod = {STANDARD[name]: ports[name] for name in ("ads", "tls", "monitoring", "webhook")}
    return {**istiod, ports["api"]: ports["api"]}


def listen_on(port: int) -> socket.socket:
    """A socket bound to a port of 127.0.0.1; 0 is any free one. Raises OSError when it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


def choose_ports(state: StateDir, *, automatic: bool) -> dict[str, int]:
    """Ports by name, each free at this moment; raises ConflictError for a standard port that is taken."""
    if not automatic:
        for name, port in STANDARD.items():
            _require_free(name, port)
        return dict(STANDARD)
    path = state.path / "ports.json"
    remembered = _read(path)
    chosen: dict[str, int] = {}
    for name in STANDARD:
        chosen[name] = _find_free(remembered.get(name, 0), set(chosen.values()))
    path.write_text(json.dumps(chosen))
    return chosen


def _require_free(name: str, port: int) -> None:
    try:
        _listen_briefly(port)
    except OSError as error:
        raise ConflictError(
            f"port {port} of 127.0.0.1 ({name}) cannot be used: {error.strerror}",
            fix="stop what uses it, or let Lateen choose free ports: `lateen up --ports auto`",
        ) from error


def _find_free(wanted: int, taken: set[int]) -> int:
    for port in (wanted, *[0] * 20):
        try:
            found = _listen_briefly(port)
        except OSError:
            continue
        if found not in taken:
            return found
    raise ConflictError("no free port on 127.0.0.1", fix="stop what listens on so many ports")


def _listen_briefly(port: int) -> int:
    with listen_on(port) as listener:
        listener.listen(1)
        number: int = listener.getsockname()[1]
        return number


def _read(path: Path) -> dict[str, int]:
    try:
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
