"""Make the checkout ready to run: a virtual environment in `.venv` with Lateen and its wheels.

Needs nothing but a Python >= 3.11 that can build a venv. Where Debian's python3 comes without
`ensurepip`, the venv is made without pip and pip's own wheel is fetched from the configured package
index (PIP_INDEX_URL, else PyPI) and checked against the digest pinned below.

    setup.py [--dev]        --dev adds what the tests and checks need

The step is skipped when nothing that it depends on changed: a stamp in the venv holds the digest of
`pyproject.toml` and the set of extras.
"""

from __future__ import annotations

import fcntl
import hashlib
import html
import importlib.util
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def say(text: str) -> None:
    """Print one progress line; standard output stays free for the command that follows."""
    print(f"  {text}", file=sys.stderr, flush=True)


def stop(text: str) -> None:
    """End with a message for the user."""
    print(f"setup: {text}", file=sys.stderr)
    raise SystemExit(69)


def stamp_of(extras: str) -> str:
    """Digest of all that the environment is made from."""
    parts = [
        sys.version,
        str(VENV),
        extras,
        (ROOT / "pyproject.toml").read_text(),
        Path(__file__).read_text(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def fetch_pip() -> Path:
    """Download the pinned pip wheel from the configured index and check its digest."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    say(f"fetching {PIP_WHEEL} (this Python has no ensurepip)")
    try:
        with urllib.request.urlopen(index, timeout=60) as answer:
            page = answer.read().decode()
        found = re.search(rf'href="([^"]*{re.escape(PIP_WHEEL)}[^"]*)"', page)
        if found is None:
            stop(f"{index} has no {PIP_WHEEL}; set PIP_INDEX_URL to an index that mirrors PyPI")
            raise AssertionError
        url = urllib.parse.urljoin(index, html.unescape(found.group(1))).split("#")[0]
        with urllib.request.urlopen(url, timeout=120) as answer:
            wheel = answer.read()
    except (urllib.error.URLError, OSError) as error:
        stop(f"cannot fetch pip from {index}: {error}; check the network or set PIP_INDEX_URL")
        raise
    if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
        stop(f"{PIP_WHEEL} from {index} does not have the pinned sha256; nothing was installed")
    path = VENV / PIP_WHEEL
    path.write_bytes(wheel)
    return path


def make_venv() -> list[str]:
    """Create the virtual environment; returns the command that runs pip in it."""
    ensurepip = importlib.util.find_spec("ensurepip")
    say(f"creating {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]}")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if ensurepip is not None and ensurepip.origin is not None:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode == 0:
            return [str(PYTHON), "-m", "pip"]
    subprocess.run([*command, "--without-pip"], check=True)
    return [str(PYTHON), str(fetch_pip() / "pip")]


def install(pip: list[str], extras: str) -> None:
    """Install the project in place, with its wheels."""
    say("installing wheels (the first time this takes about a minute)")
    target = f"{ROOT}[{extras}]" if extras else str(ROOT)
    done = subprocess.run(
        [*pip, "install", "--quiet", "--disable-pip-version-check", "--editable", target],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
        stop("pip could not install the wheels (see above); check the network or set PIP_INDEX_URL")


def main() -> None:
    """Set up the checkout, or find that it is; what an earlier call added stays."""
    if sys.version_info < (3, 11):
        stop(f"Python >= 3.11 is needed, this is {sys.version.split()[0]}")
    with lock():
        set_up("dev" if "--dev" in sys.argv[1:] else "")


@contextmanager
def lock() -> Iterator[None]:
    """Let one setup of the checkout run at a time."""
    folder = ROOT / ".cache"
    folder.mkdir(exist_ok=True)
    with (folder / "setup.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_up(wanted: str) -> None:
    """Make or mend the environment if it is not what it should be."""
    stamp = VENV / "lateen-setup"
    found, _, had = stamp.read_text().partition(" ") if PYTHON.exists() and stamp.exists() else ("", "", "")
    extras = wanted or had
    if found == stamp_of(extras):
        return
    started = time.monotonic()
    install([str(PYTHON), "-m", "pip"] if found and had == extras else make_venv(), extras)
    stamp.write_text(f"{stamp_of(extras)} {extras}")
    say(f"ready after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
