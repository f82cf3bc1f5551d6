"""Where one embedded cluster keeps its files, and who owns it.

`StateDir(path)` names every file below `lateen up --state DIR`; the directory is 0700, as are the
socket directories. `Lock` makes one daemon the owner: an exclusive `flock` that the kernel drops when
the daemon dies, however it dies. `Running` is what that daemon tells other commands: its pid and ports.

Unix socket paths hold at most 107 bytes, so sockets live in a short directory of the user's,
`$XDG_RUNTIME_DIR` or `/tmp`, named by a digest of the state directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lateen.base.errors import ConflictError, PermissionDeniedError

COMPONENTS = ("discovery", "controllers", "node")


def default_state_dir() -> Path:
    """`$LATEEN_STATE`, else `$XDG_STATE_HOME/lateen`, else `~/.local/state/lateen`."""
    if chosen := os.environ.get("LATEEN_STATE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_STATE_HOME") or str(Path(os.path.expanduser("~")) / ".local" / "state")
    return Path(base).absolute() / "lateen"


@dataclass(frozen=True)
class StateDir:
    """The paths of one embedded cluster."""

    path: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.path / "kubeconfig"

    @property
    def database(self) -> Path:
        """SQLite file of the API server."""
        return self.path / "cluster.db"

    @property
    def pki(self) -> Path:
        """Keys and certificates of the API server."""
        return self.path / "pki"

    @property
    def pods(self) -> Path:
        """Volumes and logs, one directory per pod uid."""
        return self.path / "pods"

    @property
    def logs(self) -> Path:
        """Log files of the components."""
        return self.path / "log"

    @property
    def mesh_root_cert(self) -> Path:
        """The mesh's root certificate, as the agent trusts it."""
        return self.path / "components" / "mesh-root.pem"

    def component_kubeconfig(self, component: str) -> Path:
        """Kubeconfig of a system component, one of `COMPONENTS`."""
        return self.path / "components" / f"{component}.kubeconfig"

    @property
    def runtime(self) -> Path:
        """Short directory for sockets."""
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:10]
        base = os.environ.get("XDG_RUNTIME_DIR", "")
        if base and len(base) < 40 and os.access(base, os.W_OK):
            return Path(base) / f"lateen-{digest}"
        return Path("/tmp") / f"lateen-{os.getuid()}-{digest}"

    def create(self) -> None:
        """Make the directories, readable by their owner alone.

        Raises PermissionDeniedError when a directory cannot be made or belongs to somebody else.
        """
        for directory in (self.path, self.path / "components", self.pods, self.logs, self.runtime):
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                status = os.lstat(directory)
                if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
                    raise PermissionDeniedError(
                        f"{directory} belongs to another user or is a link",
                        fix="remove it, or choose another place with --state DIR",
                    )
                directory.chmod(0o700)
            except OSError as error:
                raise PermissionDeniedError(
                    f"cannot use {directory}: {error.strerror}",
                    fix="choose a writable place with --state DIR",
                ) from error


@dataclass(frozen=True)
class Running:
    """What a daemon that is up says of itself."""

    pid: int
    version: str
    server: str
    ports: dict[str, int] = field(default_factory=dict)
    ready: bool = False

    def write(self, state: StateDir) -> None:
        """Replace the record atomically."""
        target = state.path / "running.json"
        draft = target.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.replace(target)


def find_running(state: StateDir) -> Running | None:
    """The daemon that owns the state directory now, or None."""
    if not _is_locked(state):
        return None
    try:
        return Running(**json.loads((state.path / "running.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _is_locked(state: StateDir) -> bool:
    try:
        descriptor = os.open(state.path / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Lock:
    """Ownership of a state directory, held until the process ends or `release`."""

    def __init__(self, state: StateDir) -> None:
        path = state.path / "lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PermissionDeniedError(f"cannot use {path}: {error.strerror}", fix="remove it") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            owner = find_running(state)
            who = f" (process {owner.pid})" if owner else ""
            raise ConflictError(
                f"a cluster already runs on {state.path}{who}",
                fix=f"use it, stop it with `lateen down --state {state.path}`, or choose another --state DIR",
            ) from None
        with contextlib.suppress(OSError):
            (state.path / "running.json").unlink()

    def release(self) -> None:
        """Give the directory up."""
        os.close(self._descriptor)
