"""The bootstrap of a proxy: what Envoy must know before discovery can tell it the rest.

ProxyIdentity + socket of the agent -> `envoy.config.bootstrap.v3.Bootstrap` as a proto3 JSON document.

Invariants: everything that discovery or the agent serves comes over one unix socket, so the document holds no
address, token or certificate of the control plane. Envoy's own sockets carry SO_MARK 1337 so that the
pod's nft rules let them out; a cluster with a bind configuration of its own must repeat
`build_socket_options`. Source: Istio's tools/packaging/common/envoy_bootstrap.json and pkg/bootstrap (node
metadata, ports, names). We differ: delta ADS over the agent's socket without TLS, TLS being the agent's;
an inclusion list of stats always.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lateen.base.names import CLUSTER_DOMAIN, TRUST_DOMAIN
from lateen.envoy.stats import build_stats_config

ADMIN_PORT = 15000  # lateen.cli reads it; Istio's tools too.
AGENT_STATUS_PORT = 15020  # lateen.agent listens; app probes and merged metrics.
READINESS_PORT = 15021  # what kubelet probes; forwarded to the agent.
PROMETHEUS_PORT = 15090  # Envoy's own metrics.
ENVOY_SOCKET_MARK = 1337  # the nft rules of lateen.cluster let packets with this mark out.
ISTIO_VERSION = "1.32.0"  # the Istio whose semantics we follow; foreign control planes decide by it.

# The agent is on the same machine and soon back; Envoy's own delays, 0.5 s to 30 s, would outlast it by far.
_RECONNECT = {"retryBackOff": {"baseInterval": "0.1s", "maxInterval": "1s"}}
SOCKET_LEVEL, SOCKET_MARK_OPTION = 1, 36  # SOL_SOCKET, SO_MARK; lateen.translate repeats the mark.


class ProxyIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a proxy is: the pod it serves, as the node knows it."""

    name: str
    namespace: str
    ip: str
    ips: tuple[str, ...] = ()
    proxy_type: str = "sidecar"
    service_account: str = "default"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    workload_name: str = ""
    owner: str = ""
    node_name: str = ""
    app_containers: tuple[str, ...] = ()
    pod_ports: tuple[Mapping[str, Any], ...] = ()
    cluster_id: str = "Kubernetes"
    mesh_id: str = TRUST_DOMAIN
    cluster_domain: str = CLUSTER_DOMAIN

    @property
    def node_id(self) -> str:
        """The node id that Istio's tools parse: `sidecar~IP~pod.ns~ns.svc.cluster.local`."""
        domain = f"{self.namespace}.svc.{self.cluster_domain}"
        return f"{self.proxy_type}~{self.ip}~{self.name}.{self.namespace}~{domain}"

    @property
    def service_cluster(self) -> str:
        """Istio's `app.namespace`, what Envoy calls its own cluster."""
        labels = self.labels
        app = labels.get("app") or labels.get("app.kubernetes.io/name") or self.workload_name or "istio-proxy"
        return f"{app}.{self.namespace}"


def build_node_metadata(identity: ProxyIdentity) -> dict[str, Any]:
    """Return the node metadata as Istio's agent sends it; empty values are left out."""
    metadata: dict[str, Any] = {
        "ANNOTATIONS": dict(sorted(identity.annotations.items())),
        "APP_CONTAINERS": ",".join(identity.app_containers),
        "CLUSTER_ID": identity.cluster_id,
        "ENVOY_PROMETHEUS_PORT": PROMETHEUS_PORT,
        "ENVOY_STATUS_PORT": READINESS_PORT,
        "INSTANCE_IPS": ",".join(identity.ips or (identity.ip,)),
        "INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_VERSION": ISTIO_VERSION,
        "LABELS": dict(sorted(identity.labels.items())),
        "MESH_ID": identity.mesh_id,
        "NAME": identity.name,
        "NAMESPACE": identity.namespace,
        "NODE_NAME": identity.node_name,
        "OWNER": identity.owner,
        "POD_PORTS": msgspec.json.encode(identity.pod_ports).decode() if identity.pod_ports else "",
        "SERVICE_ACCOUNT": identity.service_account,
        "WORKLOAD_NAME": identity.workload_name,
    }
    return {key: value for key, value in metadata.items() if value not in ("", {})}


def build_socket_options(mark: int | None) -> list[dict[str, Any]]:
    """Return the socket options that mark Envoy's own connections; none when `mark` is None."""
    if mark is None:
        return []
    return [
        {
            "description": "own traffic: not to be redirected",
            "level": SOCKET_LEVEL,
            "name": SOCKET_MARK_OPTION,
            "intValue": mark,
            "state": "STATE_PREBIND",
        }
    ]


def build_bootstrap(
    identity: ProxyIdentity,
    ads_socket: str,
    *,
    mark: int | None = ENVOY_SOCKET_MARK,
    admin_port: int = ADMIN_PORT,
    agent_port: int = AGENT_STATUS_PORT,
    readiness_port: int = READINESS_PORT,
    prometheus_port: int = PROMETHEUS_PORT,
    listener_address: str = "0.0.0.0",
) -> dict[str, Any]:
    """Return the bootstrap as a JSON document; `ads_socket` is the agent's socket as Envoy sees it.

    `mark` is None only where nothing redirects Envoy's traffic (tests); an `admin_port` of 0 lets the
    kernel choose.
    """
    return {
        "node": {
            "id": identity.node_id,
            "cluster": identity.service_cluster,
            "metadata": build_node_metadata(identity),
        },
        "admin": {"address": _socket_address("127.0.0.1", admin_port)},
        "statsConfig": build_stats_config(),
        "clusterManager": _build_cluster_manager(mark),
        "dynamicResources": {
            "adsConfig": {
                "apiType": "DELTA_GRPC",
                "transportApiVersion": "V3",
                "setNodeOnFirstMessageOnly": True,
                "grpcServices": [{"envoyGrpc": {"clusterName": "xds-grpc", "retryPolicy": _RECONNECT}}],
            },
            "cdsConfig": _ads_source(),
            "ldsConfig": _ads_source(),
        },
        "staticResources": {
            "clusters": [
                _build_static_cluster("prometheus_stats", _socket_address("127.0.0.1", admin_port)),
                _build_static_cluster("agent", _socket_address("127.0.0.1", agent_port)),
                _build_grpc_cluster("sds-grpc", ads_socket),
                _build_grpc_cluster("xds-grpc", ads_socket),
            ],
            "listeners": [
                _build_forward_listener(
                    "prometheus", listener_address, prometheus_port, "/stats/prometheus", "prometheus_stats"
                ),
                _build_forward_listener("agent", listener_address, readiness_port, "/healthz/ready", "agent"),
            ],
        },
        "layeredRuntime": {"layers": [{"name": "admin", "adminLayer": {}}]},
    }


def _build_cluster_manager(mark: int | None) -> dict[str, Any]:
    options = build_socket_options(mark)
    return {"upstreamBindConfig": {"socketOptions": options}} if options else {}


def _socket_address(address: str, port: int) -> dict[str, Any]:
    return {"socketAddress": {"address": address, "portValue": port}}


def _ads_source() -> dict[str, Any]:
    return {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"}


def _build_static_cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "altStatName": f"{name};",
        "type": "STATIC",
        "connectTimeout": "0.250s",
        "loadAssignment": {
            "clusterName": name,
            "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _build_grpc_cluster(name: str, socket_path: str) -> dict[str, Any]:
    """Return a cluster to the agent: idle streams live for ever, keepalive notices a dead agent."""
    http2 = {"connectionKeepalive": {"interval": "30s", "timeout": "10s"}}
    return _build_static_cluster(name, {"pipe": {"path": socket_path}}) | {
        "connectTimeout": "1s",
        "typedExtensionProtocolOptions": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicitHttpConfig": {"http2ProtocolOptions": http2},
            }
        },
        "circuitBreakers": {
            "thresholds": [
                {
                    "priority": priority,
                    "maxConnections": 100000,
                    "maxPendingRequests": 100000,
                    "maxRequests": 100000,
                }
                for priority in ("DEFAULT", "HIGH")
            ]
        },
    }


def _build_forward_listener(stat: str, address: str, port: int, path: str, cluster: str) -> dict[str, Any]:
    """Return a listener that serves exactly one path from one cluster, and 404 for all else."""
    route = {"match": {"path": path}, "route": {"cluster": cluster}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "codecType": "AUTO",
        "statPrefix": stat,
        "routeConfig": {"virtualHosts": [{"name": "backend", "domains": ["*"], "routes": [route]}]},
        "httpFilters": [
            {
                "name": "envoy.filters.http.router",
                "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": stat,
        "address": _socket_address(address, port),
        "ignoreGlobalConnLimit": True,
        "bypassOverloadManager": True,
        "filterChains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager}]}
        ],
    }
