"""A pod's volumes on disk: directories of its own, and files that the node writes and keeps up to date.

Flow: volume -> host path to bind; `refresh` rewrites what changed and renews tokens.
Invariants: written files appear together: they lie in a directory of their own that the link `..data` names, and
the link is replaced at once (as kubelet's AtomicWriter does). Secrets and tokens lie in the runtime directory (tmpfs
where the session has one), in directories of mode 0700. Paths to bind never leave the volume.
Source: the Kubernetes page "Projected Volumes"; TokenRequest (audience, expiry, bound to the pod).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

from lateen.api.container import Container, VolumeMount
from lateen.api.volume import ServiceAccountTokenProjection, Volume
from lateen.cluster.node.environment import ConfigSource, expand
from lateen.cluster.node.fields import ConfigError, PodFields
from lateen.cluster.node.volume_files import (
    File,
    build_files,
    check_path,
    is_projected,
    token_file,
)
from lateen.cluster.sandbox.channel import Message
from lateen.runtime.clock import Clock

_LINK = "..data"
RENEW_AT = 0.8  # of a token's life; also for istio-proxy's
MIN_TOKEN_SECONDS = 600  # as kube-apiserver demands

TokenIssuer = Callable[[str, int], Awaitable[tuple[str, datetime]]]
"""(audience, expiration in seconds) -> (token, when it expires)."""


class Volumes:
    """The volumes of one pod."""

    def __init__(
        self,
        fields: PodFields,
        source: ConfigSource,
        issue: TokenIssuer,
        clock: Clock,
        *,
        directory: Path,
        runtime_directory: Path,
        claims: Path,
    ) -> None:
        """`directory` is the pod's in the state directory, `runtime_directory` its place for secrets."""
        self._fields = fields
        self._source = source
        self._issue = issue
        self._clock = clock
        self._directory = directory / "volumes"
        self._runtime = runtime_directory / "volumes"
        self._claims = claims
        self._written: dict[str, Mapping[str, File]] = {}
        self._tokens: dict[tuple[str, str], tuple[str, datetime]] = {}

    @property
    def renew_at(self) -> datetime | None:
        """When the next token has to be renewed."""
        return min((renew for _token, renew in self._tokens.values()), default=None)

    async def prepare(self) -> None:
        """Make every volume of the pod; raises ConfigError for one that cannot be made yet."""
        for volume in self._fields.pod.spec.volumes:
            try:
                if is_projected(volume):
                    await self._write(volume)
                else:
                    self._make_directory(volume)
            except ConfigError as error:
                raise ConfigError(f'volume "{volume.name}": {error}') from None

    async def refresh(self) -> None:
        """Bring written volumes up to date; one whose source went away stays as it was."""
        for volume in self._fields.pod.spec.volumes:
            if is_projected(volume):
                try:
                    await self._write(volume)
                except ConfigError:
                    continue

    def find_binds(self, container: Container, environment: Mapping[str, str]) -> list[Message]:
        """Return what to bind where in a container; raises ConfigError."""
        return [self._find_bind(mount, environment) for mount in container.volume_mounts]

    def _find_bind(self, mount: VolumeMount, environment: Mapping[str, str]) -> Message:
        volume = next((v for v in self._fields.pod.spec.volumes if v.name == mount.name), None)
        if volume is None:
            raise ConfigError(f'volume "{mount.name}" is not one of the pod\'s')
        sub_path = expand(mount.sub_path_expr, environment) if mount.sub_path_expr else mount.sub_path
        return {
            "source": str(self._path(volume)),
            "target": mount.mount_path,
            "sub_path": check_path(sub_path) if sub_path else "",
            "read_only": mount.read_only or is_projected(volume),
        }

    def _path(self, volume: Volume) -> Path:
        if volume.persistent_volume_claim is not None:
            name = volume.persistent_volume_claim.claim_name
            return self._claims / self._fields.pod.metadata.namespace / name
        in_memory = volume.empty_dir is not None and volume.empty_dir.medium == "Memory"
        return (self._runtime if is_projected(volume) or in_memory else self._directory) / volume.name

    def _make_directory(self, volume: Volume) -> None:
        if volume.empty_dir is None and volume.persistent_volume_claim is None:
            kinds = "emptyDir, configMap, secret, projected, downwardAPI and persistentVolumeClaim"
            raise ConfigError(f"the embedded node has no volumes of this kind, but {kinds}")
        path = self._path(volume)
        if not path.exists():
            path.mkdir(parents=True, mode=0o700)
            path.chmod(0o777)

    async def _write(self, volume: Volume) -> None:
        content = build_files(volume, self._fields, self._source)
        files = dict(content.files)
        mode = volume.projected.default_mode if volume.projected else 0
        for projection in content.tokens:
            files[check_path(projection.path)] = token_file(await self._token(projection), mode)
        if self._written.get(volume.name) != files:
            write_atomically(self._path(volume), files)
            self._written[volume.name] = files

    async def _token(self, projection: ServiceAccountTokenProjection) -> str:
        key = (projection.audience, projection.path)
        now = self._clock.now()
        held = self._tokens.get(key)
        if held is not None and now < held[1]:
            return held[0]
        seconds = max(projection.expiration_seconds, MIN_TOKEN_SECONDS)
        token, expires = await self._issue(projection.audience, seconds)
        self._tokens[key] = (token, now + (expires - now) * RENEW_AT)
        return token


def write_atomically(directory: Path, files: Mapping[str, File]) -> None:
    """Replace the files of a directory all at once; raises ConfigError for one that cannot be written."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o755)
    draft = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    draft.chmod(0o755)
    for path, file in files.items():
        try:
            _write_file(draft / path, file)
        except (OSError, ValueError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise ConfigError(f"cannot write {path!r}: {getattr(error, 'strerror', None) or error}") from error
    link = directory / _LINK
    before = os.readlink(link) if link.is_symlink() else None
    fresh = directory / f"{_LINK}_new"
    fresh.symlink_to(draft.name)
    fresh.replace(link)
    wanted = {path.split("/", 1)[0] for path in files}
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
    for name in wanted:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{_LINK}/{name}")
    if before is not None:
        shutil.rmtree(directory / before, ignore_errors=True)


def _write_file(target: Path, file: File) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(file.data)
        os.fchmod(descriptor, file.mode)
