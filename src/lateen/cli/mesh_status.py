"""Asking discovery for its debug documents: path -> JSON.

The embedded cluster's discovery listens on this machine; which port, the daemon's record beside the kubeconfig says.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from lateen.base.errors import NotFoundError, UnavailableError
from lateen.cluster.state import Running, StateDir, default_state_dir, find_running

_SECONDS = 10.0


def find_cluster(kubeconfig: Path | None) -> Running:
    """The running cluster that a kubeconfig belongs to; raises UnavailableError when there is none."""
    named = [kubeconfig] if kubeconfig else [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep)]
    places = [path.absolute().parent for path in named if path and path.name] or [default_state_dir()]
    for place in places:
        running = find_running(StateDir(place))
        if running is not None:
            return running
    raise UnavailableError(
        f"no cluster of this machine runs on {places[0]}",
        fix="start one with `lateen up -d`, or set KUBECONFIG to its file",
    )


def read_debug(kubeconfig: Path | None, path: str, **query: str) -> Any:
    """The document that discovery gives for `/debug/...`."""
    running = find_cluster(kubeconfig)
    url = f"http://127.0.0.1:{running.ports['http']}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise NotFoundError(error.read().decode("utf-8", "replace").strip()) from error
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"discovery does not answer: {error}",
            fix="`lateen status` shows the cluster; its logs are in the state directory",
        ) from error
