"""Views of `extensions.istio.io`: WasmPlugin and TrafficExtension, filters that users bring.

Source: istio/api `extensions/v1alpha1/wasm.proto`, `traffic_extension.proto`.
"""

from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.core import ObjectMeta
from lateen.api.policy_target import IstioStatus, PolicyTargetReference, TargetReferences, WorkloadSelector
from lateen.api.view import Int32, Marker, Nullable, Port, ProtoView, Required, Struct, Text

PullPolicy = Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"]
FailStrategy = Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]
PluginType = Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]
Sha256 = Annotated[str, Meta(pattern="(^$|^[a-f0-9]{64}$)")]
PluginName = Annotated[str, Meta(min_length=1, max_length=256)]
SecretName = Annotated[str, Meta(min_length=1, max_length=253)]


class PortNumber(ProtoView, frozen=True, kw_only=True):
    """A port."""

    number: Required[Port] = 0
    """Port number."""


class TrafficSelector(ProtoView, frozen=True, kw_only=True):
    """Which traffic the filter sees."""

    mode: Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"] = "UNDEFINED"
    """Side of the traffic."""
    ports: Annotated[tuple[PortNumber, ...], Marker.LIST_MAP_BY_NUMBER] = ()
    """Ports; none means all."""


class EnvVar(ProtoView, frozen=True, kw_only=True):
    """An environment variable of the module."""

    name: Required[Annotated[str, Meta(min_length=1, max_length=256)]] = ""
    """Name."""
    value_from: Literal["INLINE", "HOST"] = "INLINE"
    """Whether the value stands here or comes from the proxy's environment."""
    value: Annotated[str, Meta(max_length=2048)] = ""
    """Value."""


class VmConfig(ProtoView, frozen=True, kw_only=True):
    """The virtual machine of the module."""

    env: Annotated[tuple[EnvVar, ...], Meta(max_length=256), Marker.LIST_MAP_BY_NAME] = ()
    """Environment variables."""


class WasmPluginSpec(ProtoView, frozen=True, kw_only=True):
    """A WebAssembly filter."""

    selector: WorkloadSelector | None = None
    """The workloads it applies to; none means the namespace, or the mesh in the root namespace."""
    target_ref: PolicyTargetReference | None = None
    """The object it is attached to."""
    target_refs: TargetReferences = ()
    """The objects it is attached to."""
    url: Required[Text] = ""
    """Where the module is: `oci://`, `https://` or `file://`; oci unless said."""
    sha256: Sha256 = ""
    """Hash of the module or image."""
    image_pull_policy: PullPolicy = "UNSPECIFIED_POLICY"
    """When the module is fetched again."""
    image_pull_secret: SecretName = ""
    """Secret with the registry's credentials."""
    verification_key: str = ""
    """Public key of the module's signature."""
    plugin_config: Struct | None = None
    """Configuration that the module gets."""
    plugin_name: PluginName = ""
    """Name that the module is configured under."""
    phase: Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED_PHASE"
    """Before which of Istio's filters it stands."""
    priority: Nullable[Int32 | None] = None
    """Order within the phase; higher comes first."""
    fail_strategy: FailStrategy = "FAIL_CLOSE"
    """What happens when it fails."""
    vm_config: VmConfig | None = None
    """The virtual machine."""
    match: tuple[TrafficSelector, ...] = ()
    """Which traffic it sees."""
    type: PluginType = "UNSPECIFIED_PLUGIN_TYPE"
    """HTTP or network filter."""


class WasmPlugin(ProtoView, frozen=True, kw_only=True):
    """A WasmPlugin."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Required[WasmPluginSpec] = WasmPluginSpec()
    status: IstioStatus = IstioStatus()


class WasmConfig(ProtoView, frozen=True, kw_only=True):
    """A WebAssembly module."""

    url: Required[Text] = ""
    """Where the module is: `oci://`, `https://` or `file://`; oci unless said."""
    sha256: Sha256 = ""
    """Hash of the module or image."""
    image_pull_policy: PullPolicy = "UNSPECIFIED_POLICY"
    """When the module is fetched again."""
    image_pull_secret: SecretName = ""
    """Secret with the registry's credentials."""
    verification_key: str = ""
    """Public key of the module's signature."""
    plugin_config: Struct | None = None
    """Configuration that the module gets."""
    plugin_name: PluginName = ""
    """Name that the module is configured under."""
    fail_strategy: FailStrategy = "FAIL_CLOSE"
    """What happens when it fails."""
    vm_config: VmConfig | None = None
    """The virtual machine."""
    type: PluginType = "UNSPECIFIED_PLUGIN_TYPE"
    """HTTP or network filter."""


class LuaConfig(ProtoView, frozen=True, kw_only=True):
    """A Lua filter."""

    inline_code: Required[Annotated[str, Meta(min_length=1, max_length=65536)]] = ""
    """The script."""


class TrafficExtensionSpec(ProtoView, frozen=True, kw_only=True):
    """A filter in WebAssembly or Lua."""

    ONE_OF = (("wasm", "lua"),)

    selector: WorkloadSelector | None = None
    """The workloads it applies to; none means the namespace, or the mesh in the root namespace."""
    target_refs: TargetReferences = ()
    """The objects it is attached to."""
    phase: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"
    """Before which of Istio's filters it stands."""
    priority: Nullable[Int32 | None] = None
    """Order within the phase; higher comes first."""
    match: tuple[TrafficSelector, ...] = ()
    """Which traffic it sees."""
    wasm: WasmConfig | None = None
    """A WebAssembly module."""
    lua: LuaConfig | None = None
    """A Lua script."""


class TrafficExtension(ProtoView, frozen=True, kw_only=True):
    """A TrafficExtension."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Required[TrafficExtensionSpec] = TrafficExtensionSpec()
    status: IstioStatus = IstioStatus()
