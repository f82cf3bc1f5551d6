"""What a daemon leaves behind when it ends, at whatever step of its start: nothing outside its state directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lateen.cluster.state import StateDir


@pytest.mark.parametrize("step", ["starting the API server", "the control plane is ready"])
def test_the_directory_of_its_sockets_ends_with_the_daemon(tmp_path: Path, step: str) -> None:
    state = StateDir(tmp_path / "state")
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "lateen.cluster.main", "--automatic-ports"]
    command += ["--state", str(state.path), "--progress-fd", str(writing), "--die-with-parent"]
    with (
        subprocess.Popen(command, pass_fds=(writing,), stderr=subprocess.DEVNULL) as daemon,
        os.fdopen(reading) as progress,
    ):
        os.close(writing)
        assert any(step in line for line in progress)
        assert state.runtime.exists()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
    assert not state.runtime.exists()
