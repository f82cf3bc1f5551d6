"""TLS towards clients and towards servers, as Gateway, Sidecar, DestinationRule and the mesh configuration
set it.

Source: istio/api `networking/v1alpha3/gateway.proto`, `destination_rule.proto`.
"""

from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.view import Nullable, ProtoView

ServerTLSMode = Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"]
TLSProtocol = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]
ClientTLSMode = Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]


class TLSCertificate(ProtoView, frozen=True, kw_only=True):
    """A certificate in files, one of several of different key types."""

    server_certificate: str = ""
    """Path of the certificate chain."""
    private_key: str = ""
    """Path of the private key."""
    ca_certificates: str = ""
    """Path of the CA certificates that verify clients."""


class ServerTLSSettings(ProtoView, frozen=True, kw_only=True):
    """How a server port takes TLS."""

    https_redirect: bool = False
    """Whether plain HTTP is answered with a redirect to HTTPS."""
    mode: ServerTLSMode = "PASSTHROUGH"
    """How TLS is handled; PASSTHROUGH routes by SNI and leaves TLS to the backend."""
    server_certificate: str = ""
    """Path of the certificate chain."""
    private_key: str = ""
    """Path of the private key."""
    ca_certificates: str = ""
    """Path of the CA certificates that verify clients."""
    ca_crl: str = ""
    """Path of the revocation list for client certificates."""
    credential_name: str = ""
    """Secret with certificate and key, in the gateway pod's namespace."""
    credential_names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)] = ()
    """Two Secrets with certificates of different key types."""
    ca_cert_credential_name: str = ""
    """Secret or ConfigMap with the CA certificates that verify clients."""
    tls_certificates: Annotated[tuple[TLSCertificate, ...], Meta(min_length=1, max_length=2)] = ()
    """Two certificates in files, of different key types."""
    subject_alt_names: tuple[str, ...] = ()
    """Names, one of which the client certificate must carry."""
    verify_certificate_spki: tuple[str, ...] = ()
    """Base64 SHA-256 hashes of accepted client public keys."""
    verify_certificate_hash: tuple[str, ...] = ()
    """Hexadecimal SHA-256 hashes of accepted client certificates."""
    min_protocol_version: TLSProtocol = "TLS_AUTO"
    """Oldest TLS version; TLS_AUTO is 1.2."""
    max_protocol_version: TLSProtocol = "TLS_AUTO"
    """Newest TLS version."""
    cipher_suites: tuple[str, ...] = ()
    """Cipher suites for TLS up to 1.2; none means the defaults."""
    ecdh_curves: tuple[str, ...] = ()
    """Curves of the key exchange; none means the defaults."""
    insecure_skip_verify: Nullable[bool | None] = None
    """Whether client certificates stay unverified in the mutual modes."""


class ClientTLSSettings(ProtoView, frozen=True, kw_only=True):
    """How connections to a server use TLS."""

    mode: ClientTLSMode = "DISABLE"
    """Whether and how TLS is started; ISTIO_MUTUAL uses the workload's own certificate."""
    client_certificate: str = ""
    """Path of the client certificate chain."""
    private_key: str = ""
    """Path of the client's private key."""
    ca_certificates: str = ""
    """Path of the CA certificates that verify the server; none means those of the system."""
    credential_name: str = ""
    """Secret with the client certificate, or CA certificates alone."""
    subject_alt_names: tuple[str, ...] = ()
    """Names, one of which the server certificate must carry."""
    sni: str = ""
    """Server name sent at the start of the handshake."""
    insecure_skip_verify: Nullable[bool | None] = None
    """Whether the server certificate stays unverified."""
    ca_crl: str = ""
    """Path of the revocation list for server certificates."""
