"""Two Envoys with static configuration and secrets from the agent, as sidecars have them."""

from __future__ import annotations

from typing import Any

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def build_server_envoy(ads_socket: str, port: int) -> dict[str, Any]:
    """Answers on `port` with its peer's SPIFFE id, to peers of the mesh only; delta SDS."""
    context = {
        "@type": f"{TLS}DownstreamTlsContext",
        "requireClientCertificate": True,
        "commonTlsContext": _common("DELTA_GRPC"),
    }
    answer = {
        "match": {"prefix": "/"},
        "directResponse": {"status": 200, "body": {"inlineString": "hello"}},
        "responseHeadersToAdd": [{"header": {"key": "x-peer", "value": "%DOWNSTREAM_PEER_URI_SAN%"}}],
    }
    listener = _listener(port, answer)
    listener["filterChains"][0]["transportSocket"] = {"name": "tls", "typedConfig": context}
    return _bootstrap("server", ads_socket, [listener], [])


def build_client_envoy(ads_socket: str, port: int, upstream_port: int) -> dict[str, Any]:
    """Forwards `port` over mTLS, a new connection for every few requests; state-of-the-world SDS."""
    common = _common("GRPC")
    validation = common.pop("validationContextSdsSecretConfig")
    common["combinedValidationContext"] = {
        "defaultValidationContext": {
            "matchTypedSubjectAltNames": [
                {"sanType": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/shop/sa/server"}}
            ]
        },
        "validationContextSdsSecretConfig": validation,
    }
    cluster = {
        "name": "server",
        "type": "STATIC",
        "loadAssignment": {"clusterName": "server", "endpoints": [_endpoints("127.0.0.1", upstream_port)]},
        "maxRequestsPerConnection": 3,
        "transportSocket": {
            "name": "tls",
            "typedConfig": {"@type": f"{TLS}UpstreamTlsContext", "commonTlsContext": common},
        },
    }
    listener = _listener(port, {"match": {"prefix": "/"}, "route": {"cluster": "server"}})
    return _bootstrap("client", ads_socket, [listener], [cluster])


def _common(api_type: str) -> dict[str, Any]:
    def secret(name: str) -> dict[str, Any]:
        api = {
            "apiType": api_type,
            "transportApiVersion": "V3",
            "grpcServices": [{"envoyGrpc": {"clusterName": "sds-grpc"}}],
        }
        return {"name": name, "sdsConfig": {"resourceApiVersion": "V3", "apiConfigSource": api}}

    return {
        "tlsParams": {"tlsMinimumProtocolVersion": "TLSv1_3", "tlsMaximumProtocolVersion": "TLSv1_3"},
        "tlsCertificateSdsSecretConfigs": [secret("default")],
        "validationContextSdsSecretConfig": secret("ROOTCA"),
    }


def _endpoints(address: str, port: int) -> dict[str, Any]:
    socket_address = {"address": address, "portValue": port}
    return {"lbEndpoints": [{"endpoint": {"address": {"socketAddress": socket_address}}}]}


def _listener(port: int, route: dict[str, Any]) -> dict[str, Any]:
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": HCM,
        "statPrefix": "test",
        "routeConfig": {"virtualHosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "httpFilters": [{"name": "envoy.filters.http.router", "typedConfig": router}],
    }
    chain = {"filters": [{"name": "envoy.http_connection_manager", "typedConfig": manager}]}
    address = {"socketAddress": {"address": "127.0.0.1", "portValue": port}}
    return {"name": "test", "address": address, "filterChains": [chain]}


def _bootstrap(
    name: str, ads_socket: str, listeners: list[dict[str, Any]], clusters: list[dict[str, Any]]
) -> dict[str, Any]:
    http2 = {"explicitHttpConfig": {"http2ProtocolOptions": {}}}
    options = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            **http2,
        }
    }
    pipe = {"lbEndpoints": [{"endpoint": {"address": {"pipe": {"path": ads_socket}}}}]}
    agent = {
        "name": "sds-grpc",
        "type": "STATIC",
        "typedExtensionProtocolOptions": options,
        "loadAssignment": {"clusterName": "sds-grpc", "endpoints": [pipe]},
    }
    return {
        "node": {"id": name, "cluster": name},
        "admin": {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}},
        "staticResources": {"listeners": listeners, "clusters": [agent, *clusters]},
    }
