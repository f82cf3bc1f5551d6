"""What the files of a pod's volumes contain. Pure.

Flow: volume + ConfigMaps, Secrets and fields -> `VolumeFiles`: path -> (bytes, mode), and the tokens to ask for.
`ConfigError` for a reference to what is not there and not optional.
Source: the Kubernetes pages "Volumes", "Projected Volumes", "ConfigMaps", "Secrets".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from lateen.api.volume import (
    ConfigMapProjection,
    ConfigMapVolume,
    DownwardApiFile,
    KeyToPath,
    SecretProjection,
    SecretVolume,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from lateen.cluster.node.environment import ConfigSource
from lateen.cluster.node.fields import ConfigError, PodFields

_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class File:
    """One file of a volume."""

    data: bytes
    mode: int


@dataclass(frozen=True)
class VolumeFiles:
    """The files of a volume that does not change by itself, and the tokens that belong beside them."""

    files: Mapping[str, File] = field(default_factory=dict)
    tokens: tuple[ServiceAccountTokenProjection, ...] = ()


def is_projected(volume: Volume) -> bool:
    """Whether the node writes the volume's files; other volumes are directories of the pod's own."""
    return any((volume.config_map, volume.secret, volume.projected, volume.downward_api))


def build_files(volume: Volume, fields: PodFields, source: ConfigSource) -> VolumeFiles:
    """Return what the volume holds; raises ConfigError."""
    if volume.config_map is not None:
        return VolumeFiles(_config_map_files(volume.config_map, source, volume.config_map.default_mode))
    if volume.secret is not None:
        origin = volume.secret
        return VolumeFiles(_secret_files(origin.secret_name, origin, source, origin.default_mode))
    if volume.downward_api is not None:
        api = volume.downward_api
        return VolumeFiles(_downward_files(api.items, fields, api.default_mode))
    if volume.projected is not None:
        return _project(volume.projected.sources, fields, source, volume.projected.default_mode)
    return VolumeFiles()


def _project(sources: tuple[VolumeProjection, ...], fields: PodFields, source: ConfigSource, mode: int) -> VolumeFiles:
    files: dict[str, File] = {}
    tokens: list[ServiceAccountTokenProjection] = []
    for projection in sources:
        if projection.config_map is not None:
            files |= _config_map_files(projection.config_map, source, mode)
        if projection.secret is not None:
            files |= _secret_files(projection.secret.name, projection.secret, source, mode)
        if projection.downward_api is not None:
            files |= _downward_files(projection.downward_api.items, fields, mode)
        if projection.service_account_token is not None:
            tokens.append(projection.service_account_token)
    return VolumeFiles(files, tuple(tokens))


def _config_map_files(
    origin: ConfigMapVolume | ConfigMapProjection, source: ConfigSource, mode: int
) -> dict[str, File]:
    found = source.config_map(origin.name)
    if found is None and not origin.optional:
        raise ConfigError(f'configmap "{origin.name}" not found')
    data: dict[str, bytes] = {}
    if found is not None:
        data = {key: value.encode() for key, value in found.data.items()}
        data |= {key: base64.b64decode(value) for key, value in found.binary_data.items()}
    return _select(data, origin.items, mode, optional=origin.optional, what=f'configmap "{origin.name}"')


def _secret_files(
    name: str, origin: SecretVolume | SecretProjection, source: ConfigSource, mode: int
) -> dict[str, File]:
    found = source.secret(name)
    if found is None and not origin.optional:
        raise ConfigError(f'secret "{name}" not found')
    data = {key: base64.b64decode(value) for key, value in found.data.items()} if found else {}
    return _select(data, origin.items, mode, optional=origin.optional, what=f'secret "{name}"')


def _select(
    data: Mapping[str, bytes], items: tuple[KeyToPath, ...], mode: int, *, optional: bool, what: str
) -> dict[str, File]:
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files: dict[str, File] = {}
    for item in items:
        if item.key in data:
            files[check_path(item.path)] = File(data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise ConfigError(f"references non-existent key {item.key} of {what}")
    return files


def _downward_files(items: tuple[DownwardApiFile, ...], fields: PodFields, mode: int) -> dict[str, File]:
    files: dict[str, File] = {}
    for item in items:
        text = ""
        if item.field_ref is not None:
            text = fields.read(item.field_ref)
        elif item.resource_field_ref is not None:
            text = fields.read_resource(item.resource_field_ref, item.resource_field_ref.container_name)
        files[check_path(item.path)] = File(text.encode(), mode if item.mode is None else item.mode)
    return files


def token_file(token: str, mode: int) -> File:
    """Return a token as a file: readable by its owner alone unless the volume says less."""
    return File(token.encode(), mode & _OWNER_ONLY or _OWNER_ONLY)


def check_path(path: str) -> str:
    """Return a relative path inside a volume; raises ConfigError for one that leads out."""
    if path.startswith(("/", "..")) or ".." in path.split("/") or not path:
        raise ConfigError(f"path {path!r} must be relative and stay inside the volume")
    return path
