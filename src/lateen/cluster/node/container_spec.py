"""A container of a pod as container-init's start request.

Flow: container + program + environment + volumes -> JSON request (process, root, log). Pure but for the image's
commands, which are written once.
Invariants: only Envoy keeps a capability (CAP_NET_ADMIN, for SO_MARK), whatever a pod asks for; a user id that is not
0 is cosmetic; files of the host are limited to /usr, the interpreter, the package and the pod's volumes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lateen.api.container import Container
from lateen.api.pod import Pod
from lateen.cluster.images import Image, Interpreter, Program, write_commands
from lateen.cluster.node.environment import expand
from lateen.cluster.node.root_files import build_etc
from lateen.cluster.sandbox.channel import Message

ROOT_SIZE = "1g"
_DIRECTORY = "/"


@dataclass(frozen=True)
class Places:
    """Directories of the node: the state directory's pods, the runtime directory."""

    pods: Path
    runtime: Path

    def pod(self, uid: str) -> Path:
        """Where a pod's logs and own volumes are."""
        return self.pods / uid

    def pod_runtime(self, uid: str) -> Path:
        """Where a pod's secrets and sockets are."""
        return self.runtime / "pods" / uid

    @property
    def mount_point(self) -> Path:
        """An empty directory on which each container mounts its root, in a mount namespace of its own."""
        return self.runtime / "root"

    @property
    def claims(self) -> Path:
        """Where persistent volume claims are kept."""
        return self.pods.parent / "claims"

    def log(self, uid: str, container: str) -> Path:
        """Where a container's logs are."""
        return self.pod(uid) / container

    def commands(self, name: str) -> Path:
        """Where an image's programs for /usr/bin are."""
        return self.runtime / "images" / name.replace("/", "_") / "bin"


def find_user(pod: Pod, container: Container) -> tuple[int, int]:
    """Return the user and group that the program is to see itself as."""
    own, shared = container.security_context, pod.spec.security_context
    user = own.run_as_user if own is not None and own.run_as_user is not None else None
    group = own.run_as_group if own is not None and own.run_as_group is not None else None
    if user is None and shared is not None:
        user = shared.run_as_user
    if group is None and shared is not None:
        group = shared.run_as_group
    return user or 0, group or 0


def build_start(
    pod: Pod,
    container: Container,
    program: Program,
    *,
    attempt: int,
    address: str,
    name_server: str,
    environment: Mapping[str, str],
    binds: Sequence[Message],
    places: Places,
    interpreter: Interpreter,
    capabilities: tuple[int, ...] = (),
) -> Message:
    """Return the start request."""
    user, group = (0, 0) if capabilities else find_user(pod, container)
    context = container.security_context
    seen = [*interpreter.binds, *([(program.image.directory,) * 2] if program.image.directory else [])]
    host = [{"source": source, "target": target, "read_only": True} for source, target in seen]
    return {
        "process": {
            "arguments": [expand(word, environment) for word in program.arguments],
            "environment": dict(environment),
            "directory": container.working_dir or program.image.directory or _DIRECTORY,
            "user": user,
            "group": group,
            "capabilities": list(capabilities),
        },
        "root": {
            "mount_point": str(places.mount_point),
            "size_bytes": ROOT_SIZE,
            "commands": str(_find_commands(container.image, program.image, places, interpreter)),
            "files": build_etc(pod, address, user=user, group=group, name_server=name_server),
            "binds": [*host, *binds],
            "read_only": bool(context and context.read_only_root_filesystem),
        },
        "log": {
            "directory": str(places.log(pod.metadata.uid, container.name)),
            "name": f"{attempt}.log",
        },
        "termination_log": container.termination_message_path,
    }


def _find_commands(name: str, image: Image, places: Places, interpreter: Interpreter) -> Path:
    """Return the directory of the image's programs; images that add none share one."""
    directory = places.commands(name if image.commands else "plain")
    write_commands(directory, image, interpreter)
    return directory
