"""The virtual host for hosts that nobody declared: what sidecars do with them.

| MeshConfig.outboundTrafficPolicy | answer |
| --- | --- |
| ALLOW_ANY | on to where the connection was going |
| ALLOW_ANY_DYNAMIC_DNS | on to what the host resolves to |
| REGISTRY_ONLY | 502 |

Source: Istio's pilot/pkg/networking/core/httproute.go (catch-all virtual hosts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.mesh.visibility import mesh_settings
from lateen.translate.cluster import DYNAMIC_DNS_CLUSTER, PASSTHROUGH_CLUSTER
from lateen.translate.socket_address import NEVER

if TYPE_CHECKING:
    from lateen.incremental.database import Database

VirtualHost = message_class("envoy.config.route.v3.VirtualHost")
Route = message_class("envoy.config.route.v3.Route")
RouteAction = message_class("envoy.config.route.v3.RouteAction")

_REFUSED_STATUS = 502


def build_catch_all(db: Database, *, allow_any: bool) -> EnvoyMessage:
    """Return the virtual host for hosts that nobody declared."""
    if not allow_any:
        return _build("block_all", Route(direct_response={"status": _REFUSED_STATUS}))
    dynamic = mesh_settings(db).dynamic_dns
    action = RouteAction(
        cluster=DYNAMIC_DNS_CLUSTER if dynamic else PASSTHROUGH_CLUSTER,
        timeout=NEVER,
        max_stream_duration={"max_stream_duration": NEVER, "grpc_timeout_header_max": NEVER},
    )
    return _build("allow_any_dynamic_dns" if dynamic else "allow_any", Route(route=action))


def _build(name: str, route: EnvoyMessage) -> EnvoyMessage:
    route.name = name
    route.match.prefix = "/"
    return VirtualHost(name=name, domains=["*"], routes=[route], include_request_attempt_count=True)
