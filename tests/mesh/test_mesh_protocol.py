"""Protocol selection, as Istio's page says."""

import pytest

from lateen.mesh.protocol import Protocol, select_protocol

CASES = [
    ("name", (80, "http"), Protocol.HTTP),
    ("name with suffix", (80, "http-web"), Protocol.HTTP),
    ("case does not matter", (80, "HTTP2-web"), Protocol.HTTP2),
    ("grpc", (80, "grpc-web"), Protocol.GRPC_WEB),
    ("grpc with suffix", (80, "grpc-api"), Protocol.GRPC),
    ("grpc-web with suffix", (80, "grpc-web-api"), Protocol.GRPC_WEB),
    ("proxy", (80, "http_proxy"), Protocol.HTTP_PROXY),
    ("https", (443, "https"), Protocol.HTTPS),
    ("tls", (443, "tls-x"), Protocol.TLS),
    ("mongo", (1, "mongo"), Protocol.MONGO),
    ("redis", (1, "redis"), Protocol.REDIS),
    ("mysql", (1, "mysql"), Protocol.MYSQL),
    ("tcp", (80, "tcp-http"), Protocol.TCP),
    ("unknown name", (80, "web"), Protocol.AUTO),
    ("prefix without dash is no prefix", (80, "httpweb"), Protocol.AUTO),
    ("no name", (80, ""), Protocol.AUTO),
    ("smtp speaks first", (25, ""), Protocol.TCP),
    ("dns over tcp", (53, "dns-tcp"), Protocol.TCP),
    ("mysql speaks first", (3306, "db"), Protocol.TCP),
    ("mongo on its port", (27017, ""), Protocol.TCP),
    ("a known name on such a port counts", (3306, "http"), Protocol.HTTP),
    ("appProtocol beats name", (80, "tcp", "http"), Protocol.HTTP),
    ("appProtocol h2c", (80, "tcp", "kubernetes.io/h2c"), Protocol.HTTP2),
    ("appProtocol ws", (80, "tcp", "kubernetes.io/ws"), Protocol.HTTP),
    ("appProtocol wss", (80, "tcp", "kubernetes.io/wss"), Protocol.HTTPS),
    ("unknown appProtocol hides the name", (80, "http", "example.com/x"), Protocol.AUTO),
    ("udp", (80, "http", None, "UDP"), Protocol.UDP),
]


@pytest.mark.parametrize(("arguments", "protocol"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_protocol_of_a_port(arguments: tuple[object, ...], protocol: Protocol) -> None:
    assert select_protocol(*arguments) is protocol  # type: ignore[arg-type]


def test_every_protocol_is_exactly_one_of_requests_bytes_detected_and_ignored() -> None:
    for protocol in Protocol:
        kinds = (protocol.is_http, protocol.is_stream, protocol.is_detected, protocol is Protocol.UDP)
        assert sum(kinds) == 1
