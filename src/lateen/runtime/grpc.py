"""gRPC servers and channels whose messages are bytes.

Flow: generic handlers without (de)serialisers -> a server with ports (plaintext, TLS, unix socket); an address ->
a channel. Invariants: a port that is taken is an error, never shared with another process; a unix socket is
0600 from its first moment; a peer that vanished is found by pings; what a client may send at once is bounded,
what it may be sent is not. Settings are those of istiod where it has them (keepalive, message limit).
Source: gRPC core's channel arguments (include/grpc/impl/channel_arg_names.h).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias, cast

import grpc

from lateen.base.errors import ConflictError
from lateen.runtime.tls import KeyPair

Handler: TypeAlias = "grpc.GenericRpcHandler[bytes, bytes]"
Stream: TypeAlias = "grpc.aio.StreamStreamCall[bytes, bytes]"

MAX_REQUEST_BYTES = 4 << 20
"""The largest request a server takes: istiod's limit; the initial versions of 30,000 resources fit."""

_KEEPALIVE: tuple[tuple[str, Any], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


def build_server(
    handlers: Iterable[Handler], *, max_streams: int = 10_000, max_request_bytes: int = MAX_REQUEST_BYTES
) -> grpc.aio.Server:
    """A server without ports; `max_streams` bounds the calls of one connection."""
    options = [
        *_KEEPALIVE,
        ("grpc.http2.min_ping_interval_without_data_ms", 15_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", max_streams),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers(tuple(handlers))
    return server


def listen_plain(server: grpc.aio.Server, address: str) -> int:
    """Listen without TLS on HOST:PORT (0: any free port); the port. Raises ConflictError if it is taken."""
    return _listen(server.add_insecure_port, address)


def listen_tls(server: grpc.aio.Server, address: str, find_pair: Callable[[], KeyPair]) -> int:
    """Listen with TLS; every handshake shows what `find_pair` returns then, so a renewed one needs no restart.

    No client certificate is asked for: gRPC for Python can demand one from every client or from none.
    """
    shown = find_pair()

    def find_configuration() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        pair = find_pair()
        if pair == shown:
            return None
        shown = pair
        return _configure(pair)

    credentials = grpc.dynamic_ssl_server_credentials(_configure(shown), find_configuration)  # type: ignore[arg-type]
    return _listen(lambda target: server.add_secure_port(target, credentials), address)


def listen_unix(server: grpc.aio.Server, path: Path) -> None:
    """Listen on a unix socket that only this user may use, replacing a file left there."""
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        _listen(server.add_insecure_port, f"unix:{path}")
    finally:
        os.umask(mask)


def build_channel(
    target: str,
    *,
    roots_pem: bytes | None = None,
    server_name: str | None = None,
    options: Iterable[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """A channel to HOST:PORT or unix:PATH; with `roots_pem` over TLS, verified for `server_name`."""
    arguments: list[tuple[str, Any]] = [
        *_KEEPALIVE,
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_http_proxy", 0),
        *options,
    ]
    if roots_pem is None:
        return grpc.aio.insecure_channel(target, options=arguments)
    if server_name is not None:
        arguments.append(("grpc.ssl_target_name_override", server_name))
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots_pem), options=arguments)


def open_stream(channel: grpc.aio.Channel, method: str, metadata: Iterable[tuple[str, str]] = ()) -> Stream:
    """A bidirectional call of `/service/method` whose messages are bytes."""
    open_call: Any = channel.stream_stream(method, None, None)
    return cast("Stream", open_call(metadata=tuple(metadata)))


def _configure(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key_pem, pair.chain_pem)])


def _listen(add_port: Callable[[str], int], address: str) -> int:
    try:
        port = add_port(address)
    except RuntimeError as error:
        raise ConflictError(f"cannot listen on {address}", fix="choose another port, or 0 for any free one") from error
    if port == 0:
        raise ConflictError(f"cannot listen on {address}", fix="choose another port, or 0 for any free one")
    return port
