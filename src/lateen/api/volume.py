"""Views of a pod's volumes: those that the embedded node can mount, and persistent claims by name.

Part of `pod.Pod`. Source: Kubernetes API reference v1.34, `core/v1` Volume.
"""

from msgspec import field

from lateen.api.container import ObjectFieldSelector, ResourceFieldSelector
from lateen.api.view import View


class KeyToPath(View, frozen=True, kw_only=True):
    """Which key becomes which file."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class EmptyDirVolume(View, frozen=True, kw_only=True):
    """A directory that lives as long as the pod; medium `Memory` is a tmpfs."""

    medium: str = ""
    size_limit: str | int | None = None


class ConfigMapVolume(View, frozen=True, kw_only=True):
    """Keys of a ConfigMap as files; `name` says which."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(View, frozen=True, kw_only=True):
    """Keys of a Secret as files."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretProjection(View, frozen=True, kw_only=True):
    """Keys of a Secret within a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class ConfigMapProjection(View, frozen=True, kw_only=True):
    """Keys of a ConfigMap within a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class ServiceAccountTokenProjection(View, frozen=True, kw_only=True):
    """A token of the pod's service account for one audience, renewed before it expires."""

    audience: str = ""
    expiration_seconds: int = 3600
    path: str = ""


class DownwardApiFile(View, frozen=True, kw_only=True):
    """A field of the pod as a file."""

    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardApiVolume(View, frozen=True, kw_only=True):
    """Fields of the pod as files."""

    items: tuple[DownwardApiFile, ...] = ()
    default_mode: int = 0o644


class VolumeProjection(View, frozen=True, kw_only=True):
    """One source of a projected volume."""

    secret: SecretProjection | None = None
    config_map: ConfigMapProjection | None = None
    downward_api: DownwardApiVolume | None = field(name="downwardAPI", default=None)
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolume(View, frozen=True, kw_only=True):
    """Several sources in one directory."""

    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int = 0o644


class HostPathVolume(View, frozen=True, kw_only=True):
    """A path of the node."""

    path: str = ""
    type: str = ""


class PersistentVolumeClaimVolume(View, frozen=True, kw_only=True):
    """A claim by name."""

    claim_name: str = ""
    read_only: bool = False


class Volume(View, frozen=True, kw_only=True):
    """A volume of a pod; one that sets none of the known sources is of a kind Lateen does not mount."""

    name: str = ""
    empty_dir: EmptyDirVolume | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    projected: ProjectedVolume | None = None
    downward_api: DownwardApiVolume | None = field(name="downwardAPI", default=None)
    host_path: HostPathVolume | None = None
    persistent_volume_claim: PersistentVolumeClaimVolume | None = None
