"""TLS towards servers that are not asked for the mesh's certificates: modes SIMPLE and MUTUAL of a DestinationRule.

ClientTLSSettings -> transport socket.

| certificates of authorities | from |
| --- | --- |
| `credentialName` | SDS `kubernetes://NAME-cacert`, by the mesh's own stream |
| `caCertificates` | the file |
| neither | the system's |
| `insecureSkipVerify` | nowhere: any server is trusted |

Where neither SNI nor names are given, requests tell both by their host.
Source: Istio's pilot/pkg/networking/core/cluster_tls.go; the ClientTLSSettings reference; Envoy's tls.proto.
"""

from __future__ import annotations

from typing import Any

from lateen.api.tls_settings import ClientTLSSettings
from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.translate.socket_address import build_ads_source

TransportSocket = message_class("envoy.config.core.v3.TransportSocket")
UpstreamTlsContext = message_class("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")
SdsSecretConfig = message_class("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig")

SYSTEM_ROOTS_FILE = "/etc/ssl/certs/ca-certificates.crt"
CREDENTIAL_PREFIX, AUTHORITY_SUFFIX = "kubernetes://", "-cacert"

_HTTP2_ALPN = ["h2"]


def verifies_by_host(tls: ClientTLSSettings | None) -> bool:
    """Whether the host of each request decides which server name is asked for and expected."""
    return tls is not None and tls.mode in {"SIMPLE", "MUTUAL"} and not tls.sni and not tls.subject_alt_names


def build_client_tls(tls: ClientTLSSettings, *, http2: bool) -> EnvoyMessage:
    """Return a client's socket."""
    common: dict[str, Any] = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": _HTTP2_ALPN if http2 else [],
    }
    if tls.mode == "MUTUAL":
        common |= _build_certificate(tls)
    if not tls.insecure_skip_verify:
        common |= _build_validation(tls)
    context = UpstreamTlsContext(common_tls_context=common, sni=tls.sni)
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack_any(context))


def build_credential(name: str) -> EnvoyMessage:
    """Return the source of a Secret: the stream that all configuration comes by."""
    return SdsSecretConfig(name=f"{CREDENTIAL_PREFIX}{name}", sds_config=build_ads_source())


def _build_certificate(tls: ClientTLSSettings) -> dict[str, Any]:
    if tls.credential_name:
        return {"tls_certificate_sds_secret_configs": [build_credential(tls.credential_name)]}
    chain, key = {"filename": tls.client_certificate}, {"filename": tls.private_key}
    return {"tls_certificates": [{"certificate_chain": chain, "private_key": key}]}


def _build_validation(tls: ClientTLSSettings) -> dict[str, Any]:
    names = [
        {"san_type": kind, "matcher": {"exact": name}}
        for name in tls.subject_alt_names
        for kind in (("URI",) if "://" in name else ("DNS",))
    ]
    if tls.credential_name:
        return {
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": names},
                "validation_context_sds_secret_config": build_credential(tls.credential_name + AUTHORITY_SUFFIX),
            }
        }
    authorities = {"filename": tls.ca_certificates or SYSTEM_ROOTS_FILE}
    context: dict[str, Any] = {"trusted_ca": authorities, "match_typed_subject_alt_names": names}
    if tls.ca_crl:
        context["crl"] = {"filename": tls.ca_crl}
    return {"validation_context": context}
