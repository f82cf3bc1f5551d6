"""Mutual TLS between sidecars: contexts, secrets, ALPN.

(identities that may answer, server name, application protocols) -> transport sockets.

Invariants: secrets come from the agent by SDS under the names `default` and `ROOTCA` only; TLS 1.3 is stated, since
Envoy's client would stop at 1.2; the ALPN names `istio*` tell a PERMISSIVE server that this is the mesh's TLS and not
the application's. Order in `*_ALPN` counts: the server takes the first name that one of its chains knows.
Source: Istio's pkg/networking/util (ALPN), pilot/pkg/security/model (contexts); Envoy's tls.proto.
We differ: upstream Envoy cannot set ALPN per request (Istio's filter `istio.alpn`), so a cluster states the
protocol that it speaks; the names `istio-peer-exchange` are accepted but never offered, as nothing is exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable

from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.translate.socket_address import NEVER

TransportSocket = message_class("envoy.config.core.v3.TransportSocket")
RawBuffer = message_class("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")
UpstreamTlsContext = message_class("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")
DownstreamTlsContext = message_class("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext")
CommonTlsContext = message_class("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext")
TlsParameters = message_class("envoy.extensions.transport_sockets.tls.v3.TlsParameters")
SdsSecretConfig = message_class("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig")
SanMatcher = message_class("envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher")

WORKLOAD_SECRET, ROOT_SECRET = "default", "ROOTCA"  # the agent serves them.
SDS_CLUSTER = "sds-grpc"  # in every bootstrap.

HTTP1_ALPN = ("istio-http/1.1", "istio")
HTTP2_ALPN = ("istio-h2", "istio", "h2")
STREAM_ALPN = ("istio",)

MESH_HTTP_ALPN = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
MESH_STREAM_ALPN = ("istio-peer-exchange", "istio")
MESH_ALPN = ("istio", "istio-peer-exchange", *MESH_HTTP_ALPN)
"""What the mesh's TLS may offer to a server: for requests, for streams, either."""

SERVER_ALPN = ("h2", "http/1.1")

_CIPHER_SUITES = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)


def build_upstream_tls(identities: Iterable[str], sni: str, alpn: Iterable[str]) -> EnvoyMessage:
    """Return a client's socket; the server must show one of the identities, any of the mesh's if none is known.

    An identity is a URI, or the name that a service outside of Kubernetes shows.
    """
    matchers = [SanMatcher(san_type="URI" if "://" in name else "DNS", matcher={"exact": name}) for name in identities]
    context = UpstreamTlsContext(common_tls_context=_build_common(matchers, alpn), sni=sni)
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack_any(context))


def build_downstream_tls(trust_domains: Iterable[str], alpn: Iterable[str]) -> EnvoyMessage:
    """Return a server's socket; the client must show an identity of one of the trust domains."""
    matchers = [SanMatcher(san_type="URI", matcher={"prefix": f"spiffe://{domain}/"}) for domain in trust_domains]
    common = _build_common(matchers, alpn)
    common.tls_params.cipher_suites.extend(_CIPHER_SUITES)
    context = DownstreamTlsContext(common_tls_context=common, require_client_certificate={"value": True})
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack_any(context))


def build_plain_text() -> EnvoyMessage:
    """Return the socket without TLS, where one must be named."""
    return TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=pack_any(RawBuffer()))


def format_sni(port: int, subset: str, host: str) -> str:
    """Return the server name by which sidecars tell services apart: `outbound_.9080_._.host`."""
    return f"outbound_.{port}_.{subset}_.{host}"


def _build_common(matchers: list[EnvoyMessage], alpn: Iterable[str]) -> EnvoyMessage:
    return CommonTlsContext(
        tls_params=TlsParameters(tls_minimum_protocol_version="TLSv1_2", tls_maximum_protocol_version="TLSv1_3"),
        tls_certificate_sds_secret_configs=[_build_secret(WORKLOAD_SECRET)],
        combined_validation_context={
            "default_validation_context": {"match_typed_subject_alt_names": matchers},
            "validation_context_sds_secret_config": _build_secret(ROOT_SECRET),
        },
        alpn_protocols=alpn,
    )


def _build_secret(name: str) -> EnvoyMessage:
    return SdsSecretConfig(
        name=name,
        sds_config={
            "api_config_source": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": SDS_CLUSTER}}],
                "set_node_on_first_message_only": True,
            },
            "initial_fetch_timeout": NEVER,
            "resource_api_version": "V3",
        },
    )
