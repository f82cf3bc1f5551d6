"""Which program an `image:` means: the embedded node pulls nothing, it looks names up in a table.

Flow: container -> `ImageTable.resolve` -> `Program` (arguments, environment, commands on /usr/bin), or `UnknownImage`
with a message that says what to add.
Invariants: a container's `command` replaces the image's, and then its `args` alone are the arguments, as Kubernetes
says; a container that brings its own `command` needs no entry in the table. `*/proxyv2:*` is not here: the node runs
the pinned Envoy for it.
Source: the Kubernetes page "Define a Command and Arguments for a Container".
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lateen
from lateen.api.container import Container

PYTHON_HOME = "/opt/lateen/python"
SITE = "/opt/lateen/site"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_REPOSITORY = "proxyv2"


@dataclass(frozen=True)
class Image:
    """What runs by default, and what an image adds to /usr/bin (name -> shell words that run it)."""

    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A container's command line with its image."""

    arguments: tuple[str, ...]
    image: Image


class UnknownImage(Exception):
    """No program is known for the image; the text says what to add."""


def _module(name: str) -> str:
    return f"PYTHONPATH={SITE} exec /usr/bin/python3 -S -m lateen.samples.{name}"


_CURL = {"curl": _module("curl")}
_SLEEP = ("/bin/sleep", "infinity")
BUILTIN: Mapping[str, Image] = {
    "lateen/sample-http": Image(
        ("python3", "-S", "-m", "lateen.samples.echo"), environment={"PYTHONPATH": SITE}, commands=_CURL
    ),
    "lateen/sample-curl": Image(_SLEEP, commands=_CURL),
    "curlimages/curl": Image(_SLEEP, commands=_CURL),
}


def parse_repository(image: str) -> str:
    """Return the name without registry, tag and digest: its last two parts at most."""
    name = image.partition("@")[0]
    parts = name.split("/")
    parts[-1] = parts[-1].partition(":")[0]
    return "/".join(parts[-2:])


def is_proxy(image: str) -> bool:
    """Whether the image is Istio's proxy, whatever its registry and tag."""
    return parse_repository(image).rpartition("/")[2] == PROXY_REPOSITORY


class ImageTable:
    """Repository -> image."""

    def __init__(self, images: Mapping[str, Image] = BUILTIN) -> None:
        self._images = dict(images)

    def find(self, image: str) -> Image | None:
        """Return the image of that name, whatever its registry, tag and digest."""
        return self._images.get(parse_repository(image))

    def resolve(self, container: Container) -> Program:
        """Return what the container runs; raises UnknownImage."""
        image = self.find(container.image)
        if container.command:
            return Program((*container.command, *container.args), image or Image())
        if image is None:
            known = ", ".join(sorted(self._images))
            raise UnknownImage(
                f'image "{container.image}" is not known on this node, which pulls no images: add `command` to '
                f"container {container.name} (a program of this machine, such as python3), or use one of {known}"
            )
        return Program((*image.entrypoint, *(container.args or image.arguments)), image)


@dataclass(frozen=True)
class Interpreter:
    """This installation's Python as containers see it: host directory -> neutral path, and the commands for it."""

    home: Path
    executable: Path
    needs_library_path: bool

    @property
    def binds(self) -> tuple[tuple[str, str], ...]:
        """(host path, container path) to bind read-only: the interpreter, unless /usr has it, and our package."""
        package = (str(Path(lateen.__file__).resolve().parent), f"{SITE}/lateen")
        return (package,) if self._in_usr else ((str(self.home), PYTHON_HOME), package)

    @property
    def _in_usr(self) -> bool:
        return self.home.is_relative_to("/usr")

    @property
    def command(self) -> str:
        """Shell words that run it inside a container."""
        if self._in_usr:
            return f"exec {self.executable}"
        inside = f"exec {PYTHON_HOME}/{self.executable.relative_to(self.home)}"
        # A shared libpython is looked for where it was built, which is not where it is bound.
        return f"LD_LIBRARY_PATH={PYTHON_HOME}/lib {inside}" if self.needs_library_path else inside


def find_interpreter() -> Interpreter:
    """Return the interpreter that runs this process, without its virtual environment."""
    home = Path(sys.base_prefix).resolve()
    executable = Path(os.path.realpath(sys.executable))
    if not executable.is_relative_to(home):
        executable = home / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(home, executable, bool(sysconfig.get_config_var("Py_ENABLE_SHARED")))


def write_commands(directory: Path, image: Image, interpreter: Interpreter) -> None:
    """Write the image's programs for /usr/bin into a directory, which appears complete or not at all."""
    if directory.exists():
        return
    draft = directory.with_name(f"{directory.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    commands = {"python3": interpreter.command, "python": interpreter.command, **image.commands}
    for name, words in commands.items():
        script = draft / name
        script.write_text(f'#!/bin/sh\n{words} "$@"\n')
        script.chmod(0o755)
    draft.chmod(0o755)
    draft.rename(directory)
