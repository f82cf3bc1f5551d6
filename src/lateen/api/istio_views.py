"""Which view reads which Istio kind: the one table that decoding by kind and the CRDs share."""

from collections.abc import Mapping
from types import MappingProxyType

from lateen.api.destination_rule import DestinationRule
from lateen.api.envoy_filter import EnvoyFilter, ProxyConfig
from lateen.api.extensions import TrafficExtension, WasmPlugin
from lateen.api.gateway import Gateway
from lateen.api.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication
from lateen.api.service_entry import ServiceEntry
from lateen.api.sidecar import Sidecar
from lateen.api.telemetry import Telemetry
from lateen.api.view import ProtoView
from lateen.api.virtual_service import VirtualService
from lateen.api.workload import WorkloadEntry, WorkloadGroup

ISTIO_VIEWS: Mapping[str, type[ProtoView]] = MappingProxyType(
    {
        view.__name__: view
        for view in (
            AuthorizationPolicy,
            DestinationRule,
            EnvoyFilter,
            Gateway,
            PeerAuthentication,
            ProxyConfig,
            RequestAuthentication,
            ServiceEntry,
            Sidecar,
            Telemetry,
            TrafficExtension,
            VirtualService,
            WasmPlugin,
            WorkloadEntry,
            WorkloadGroup,
        )
    }
)
"""Kind -> its view; every served version of a kind has the same shape."""
