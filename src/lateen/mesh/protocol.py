"""Which protocol a Service's port speaks: what decides between HTTP, TCP and looking at the first bytes.

(port number, port name, appProtocol, transport) -> Protocol.

Precedence: UDP is left alone; `appProtocol` beats the name; a name counts up to its first `-`; well-known ports of
protocols in which the server speaks first are TCP; anything else is AUTO, detected from the first bytes.
Source: Istio's page "Protocol Selection" and pkg/config/kube (SEMANTICS 1.5); Kubernetes' KEP-3726 names.
"""

from __future__ import annotations

from enum import Enum


class Protocol(Enum):
    """The protocol of a port; the values are Istio's names."""

    TCP = "TCP"
    UDP = "UDP"
    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    HTTP_PROXY = "HTTP_PROXY"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTPS = "HTTPS"
    TLS = "TLS"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    AUTO = "Auto"

    @property
    def is_http(self) -> bool:
        """Whether requests can be seen, so that routes apply."""
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        """Whether every peer speaks HTTP/2."""
        return self in _HTTP2

    @property
    def is_detected(self) -> bool:
        """Whether only the first bytes tell."""
        return self is Protocol.AUTO

    @property
    def is_stream(self) -> bool:
        """Whether it is bytes over TCP as far as a proxy is concerned."""
        return not (self.is_http or self.is_detected or self is Protocol.UDP)


_HTTP2 = {Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB}
_HTTP = {Protocol.HTTP, Protocol.HTTP_PROXY, *_HTTP2}

_NAMES = {protocol.value.lower(): protocol for protocol in Protocol if protocol is not Protocol.AUTO}
_KUBERNETES_NAMES = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
_SERVER_FIRST_PORTS = {25, 53, 3306, 27017}  # SMTP, DNS, MySQL, MongoDB


def select_protocol(port: int, name: str, app_protocol: str | None = None, transport: str = "TCP") -> Protocol:
    """Return the protocol of a Service's port; `transport` is Kubernetes' TCP, UDP or SCTP."""
    if transport == "UDP":
        return Protocol.UDP
    if app_protocol in _KUBERNETES_NAMES:
        return _KUBERNETES_NAMES[app_protocol]
    stated = (app_protocol or name).lower()
    prefix = "grpc-web" if stated.startswith("grpc-web") else stated.partition("-")[0]
    known = _NAMES.get(prefix)
    if known is not None:
        return known
    return Protocol.TCP if port in _SERVER_FIRST_PORTS else Protocol.AUTO
