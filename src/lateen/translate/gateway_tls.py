"""TLS that ends at a gateway.

ServerTLSSettings -> transport socket.

| mode | certificate | clients show |
| --- | --- | --- |
| SIMPLE | `credentialName` by SDS `kubernetes://NAME`, or files | nothing |
| MUTUAL | likewise | one of `kubernetes://NAME-cacert`, or of the file |
| OPTIONAL_MUTUAL | likewise | one of these, or nothing |
| ISTIO_MUTUAL | the gateway's own | one of the mesh's |

Invariants: TLS 1.2 at least unless the server says otherwise; Secrets come by the stream of all configuration.
Source: Istio's pilot/pkg/networking/core (BuildListenerTLSContext), pilot/pkg/security/model; the Gateway reference.
"""

from __future__ import annotations

from typing import Any

from lateen.api.tls_settings import ServerTLSSettings
from lateen.envoy.messages import EnvoyMessage, message_class, pack_any
from lateen.translate.tls import SERVER_ALPN, build_downstream_tls
from lateen.translate.upstream_tls import AUTHORITY_SUFFIX, build_credential

TransportSocket = message_class("envoy.config.core.v3.TransportSocket")
DownstreamTlsContext = message_class("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext")

_VERSIONS = {
    "TLSV1_0": "TLSv1_0",
    "TLSV1_1": "TLSv1_1",
    "TLSV1_2": "TLSv1_2",
    "TLSV1_3": "TLSv1_3",
}
_VERIFYING = {"MUTUAL", "OPTIONAL_MUTUAL"}


def build_server_tls(tls: ServerTLSSettings, trust_domains: tuple[str, ...], *, requests: bool) -> EnvoyMessage:
    """Return the socket of a server; `requests` tells HTTP from bytes."""
    alpn = SERVER_ALPN if requests else ()
    if tls.mode == "ISTIO_MUTUAL":
        return build_downstream_tls(trust_domains, alpn)
    common: dict[str, Any] = {"tls_params": _build_parameters(tls), "alpn_protocols": alpn, **_build_certificates(tls)}
    if tls.mode in _VERIFYING:
        common |= _build_validation(tls)
    context = DownstreamTlsContext(
        common_tls_context=common, require_client_certificate={"value": tls.mode == "MUTUAL"}
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack_any(context))


def _build_parameters(tls: ServerTLSSettings) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "tls_minimum_protocol_version": _VERSIONS.get(tls.min_protocol_version, "TLSv1_2"),
        "cipher_suites": list(tls.cipher_suites),
        "ecdh_curves": list(tls.ecdh_curves),
    }
    if tls.max_protocol_version in _VERSIONS:
        fields["tls_maximum_protocol_version"] = _VERSIONS[tls.max_protocol_version]
    return fields


def _build_certificates(tls: ServerTLSSettings) -> dict[str, Any]:
    names = tls.credential_names or ((tls.credential_name,) if tls.credential_name else ())
    if names:
        return {"tls_certificate_sds_secret_configs": [build_credential(name) for name in names]}
    pairs = [(one.server_certificate, one.private_key) for one in tls.tls_certificates]
    return {
        "tls_certificates": [
            {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
            for chain, key in pairs or [(tls.server_certificate, tls.private_key)]
        ]
    }


def _build_validation(tls: ServerTLSSettings) -> dict[str, Any]:
    context: dict[str, Any] = {
        "match_typed_subject_alt_names": [
            {"san_type": "URI" if "://" in name else "DNS", "matcher": {"exact": name}}
            for name in tls.subject_alt_names
        ],
        "verify_certificate_spki": list(tls.verify_certificate_spki),
        "verify_certificate_hash": list(tls.verify_certificate_hash),
    }
    if tls.insecure_skip_verify:
        context["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
    name = tls.ca_cert_credential_name
    if not name and tls.credential_name and not tls.ca_certificates:
        name = tls.credential_name + AUTHORITY_SUFFIX
    if name:
        return {
            "combined_validation_context": {
                "default_validation_context": context,
                "validation_context_sds_secret_config": build_credential(name),
            }
        }
    context["trusted_ca"] = {"filename": tls.ca_certificates}
    if tls.ca_crl:
        context["crl"] = {"filename": tls.ca_crl}
    return {"validation_context": context}
