"""Which program an `image:` means: the embedded node pulls nothing, it looks names up in a table.

Flow: container -> `ImageTable.resolve` -> `Program` (arguments, environment, commands on /usr/bin), or `UnknownImage`
with a message that says what to add. A name stands for an image whatever its registry and tag; the user's own entries
(`lateen.cluster.user_images`) come before the built-in ones, and are read anew for each container that starts.
Invariants: a container's `command` replaces the image's, and then its `args` alone are the arguments, as Kubernetes
says; a container that brings its own `command` needs no entry in the table. `*/proxyv2:*` is not here: the node runs
the pinned Envoy for it.
Source: the Kubernetes page "Define a Command and Arguments for a Container".
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import lateen
from lateen.api.container import Container
from lateen.base.errors import DataError

PYTHON_HOME = "/opt/lateen/python"
SITE = "/opt/lateen/site"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_REPOSITORY = "proxyv2"


@dataclass(frozen=True)
class Image:
    """What runs by default, and what an image adds to /usr/bin (name -> shell words that run it).

    `directory` is one of the host that the container sees, read-only and as its working directory.
    """

    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""


@dataclass(frozen=True)
class Program:
    """A container's command line with its image."""

    arguments: tuple[str, ...]
    image: Image


class UnknownImage(Exception):
    """No program is known for the image; the text says what to add."""


def build_command(module: str, *arguments: str) -> str:
    """Return the shell words that run a sample inside a container."""
    return " ".join((f"PYTHONPATH={SITE} exec /usr/bin/python3 -S -m lateen.samples.{module}", *arguments))


def _app(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    default: tuple[str, ...] = (),
    commands: Mapping[str, str] = MappingProxyType({}),
) -> Image:
    return Image(
        ("python3", "-S", "-m", f"lateen.samples.{module}", *arguments),
        default,
        environment={"PYTHONPATH": SITE, **(environment or {})},
        commands={**_TOOLS, **commands},
    )


_TOOLS = {name: build_command(name) for name in ("curl", "nc", "wget")}
_CLIENT = Image((), ("/bin/sleep", "infinity"), commands=_TOOLS)
# Istio's mirroring and egress tasks start this image with gunicorn's command line.
_HTTPBIN = _app("httpbin", environment={"PORT": "80"}, commands={"gunicorn": build_command("httpbin")})
_GO_HTTPBIN = _app("httpbin", environment={"HTTPBIN_LISTS": "1"})
_FORTIO = Image(
    ("/usr/bin/fortio",), ("server",), commands={**_TOOLS, "fortio": build_command("fortio")}
)  # fmt: skip


def _bookinfo(service: str, version: str) -> tuple[str, Image]:
    return f"examples-bookinfo-{service}-{version}", _app("bookinfo", service, version)


BUILTIN: Mapping[str, Image] = {
    "lateen/sample-http": _app("echo"),
    "lateen/sample-curl": _CLIENT,
    **dict(_bookinfo(service, "v1") for service in ("productpage", "details", "reviews", "ratings")),
    **dict(_bookinfo(service, "v2") for service in ("details", "reviews", "ratings")),
    **dict([_bookinfo("reviews", "v3")]),
    **{
        f"examples-helloworld-{each}": _app("helloworld", environment={"SERVICE_VERSION": each})
        for each in ("v1", "v2")
    },
    **{f"lateen/shop-{each}": _app("shop", each) for each in ("frontend", "api", "orders", "payments")},
    "go-httpbin": _GO_HTTPBIN,
    "httpbin": _HTTPBIN,
    "tcp-echo-server": _app("tcp_echo", default=("9000", "hello")),
    "fortio": _FORTIO,
    "curl": _CLIENT,
    "curl-ssl": _CLIENT,
    "sleep": _CLIENT,
    "busybox": Image((), ("/bin/sh",), commands=_TOOLS),
}
"""Name -> image; a name of one part stands for that last part in every registry."""


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

    def __init__(
        self,
        images: Mapping[str, Image] = BUILTIN,
        *,
        read_added: Callable[[], Mapping[str, Image]] = dict,
    ) -> None:
        """`read_added` returns the user's own entries of the moment; they come first."""
        self._images = dict(images)
        self._read_added = read_added

    def find(self, image: str) -> Image | None:
        """Return the image of that name, whatever its registry, tag and digest."""
        repository = parse_repository(image)
        for images in (self._read_added(), self._images):
            for name in (repository, repository.rpartition("/")[2]):
                if name in images:
                    return images[name]
        return None

    def resolve(self, container: Container) -> Program:
        """Return what the container runs; raises UnknownImage, also when the user's entries cannot be read."""
        try:
            image = self.find(container.image)
        except DataError as error:
            raise UnknownImage(str(error)) from error
        if container.command:
            return Program((*container.command, *container.args), image or Image())
        if image is None:
            raise UnknownImage(
                f'image "{container.image}" is not known on this node, which pulls no images: say what it runs with '
                f"`lateen image add {parse_repository(container.image)} -- COMMAND...`, or give container "
                f"{container.name} a `command` of this machine, such as python3; `lateen image list` shows all of them"
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
