"""The README's two commands on a machine that has nothing but `sh`, `python3` and git.

A mount namespace hides ensurepip, pip, curl, make and kubectl; HOME is an empty directory; root becomes `nobody`, anyone else stays who
they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HIDDEN_PROGRAMS = ("pip", "pip3", "curl", "make", "kubectl")
# Where a package index is configured by environment, the fresh machine has that configuration too.
KEPT = (
    "PIP_INDEX_URL",
    "PIP_CERT",
    "PIP_FIND_LINKS",
    "PIP_DEFAULT_TIMEOUT",
    "SSL_CERT_FILE",
    "https_proxy",
    "HTTPS_PROXY",
)
# Runs as root of the namespaces: hides, then drops to the user ($RUN_AS, $USER_ID, $GROUP_ID) and runs "$@".
HIDE_AND_RUN = """
set -eu
for file in $HIDE_FILES; do mount --bind /dev/null "$file"; done
for folder in $HIDE_FOLDERS; do mount -t tmpfs -o size=4k,mode=000 none "$folder"; done
if [ "$RUN_AS" = root ]; then
    exec setpriv --reuid "$USER_ID" --regid "$GROUP_ID" --clear-groups -- "$@"
fi
exec unshare --user --map-user="$USER_ID" --map-group="$GROUP_ID" -- "$@"
"""


def hidden_files(path: str) -> list[str]:
    """Programs of the machine that the fresh one does not have."""
    found = {
        os.path.realpath(Path(folder) / name)
        for folder in path.split(":")
        for name in HIDDEN_PROGRAMS
        if (Path(folder) / name).exists()
    }
    return sorted(found)


def hidden_folders(python: str) -> list[str]:
    """Folders of ensurepip and pip of that Python."""
    script = "import importlib.util as u\nfor n in ('ensurepip', 'pip'):\n s = u.find_spec(n)\n print(s.submodule_search_locations[0] if s else '')"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    return [line for line in done.stdout.splitlines() if line]


class FreshMachine:
    """A clone of the checkout, and a way to run commands in it as on a fresh machine."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "lateen"
        self.home = folder / "home"
        self.home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.clone)], check=True)
        self.user, self.group = (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{self.user}:{self.group}", str(folder)], check=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the clone; standard output and error come back together."""
        path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
        environment = {
            "PATH": path,
            "HOME": str(self.home),
            "RUN_AS": "root" if os.getuid() == 0 else "user",
            "USER_ID": str(self.user),
            "GROUP_ID": str(self.group),
            "HIDE_FILES": " ".join(hidden_files(path)),
            "HIDE_FOLDERS": " ".join(hidden_folders(python)),
            **{name: os.environ[name] for name in KEPT if name in os.environ},
        }
        namespaces = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        return subprocess.run(
            [*namespaces, "--propagation", "private", "--", "sh", "-c", HIDE_AND_RUN, "sh", *command],
            cwd=self.clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture
def machine() -> Iterator[FreshMachine]:
    """A fresh machine in a directory that its user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="lateen-fresh-"))
    folder.chmod(0o755)
    yield FreshMachine(folder)
    shutil.rmtree(folder)


@pytest.mark.fresh_machine
def test_both_commands_of_the_readme_work_on_a_machine_with_nothing_but_python(machine: FreshMachine) -> None:
    for program in HIDDEN_PROGRAMS:
        assert machine.run("sh", "-c", f"{program} --version").returncode != 0, f"{program} is not hidden"

    demo = machine.run("scripts/demo", "--once")
    assert demo.returncode == 0, demo.stdout
    tests = machine.run("scripts/test", "--fresh")
    assert tests.returncode == 0, tests.stdout[-20_000:]

    left = {path.name for path in machine.home.iterdir()} - {".cache", ".local", ".config"}
    assert not left, f"the commands left {sorted(left)} in HOME"
