"""The HTTP server under the sample apps: routes by method and path pattern, threads, keep-alive, a clean end.

Routes (method, pattern, handler) -> `serve`. A handler gets a `Request` and returns a `Reply`. SIGTERM closes
the listener, answers what is under way with `Connection: close`, then ends: a rolling restart loses no request.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Headers that continue a trace: a service copies them from the request it got to those it makes.
TRACE_HEADERS = (
    "x-request-id", "x-ot-span-context", "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority",
    "traceparent", "tracestate", "x-cloud-trace-context", "grpc-trace-bin", "sw8", "user-agent", "cookie",
    "authorization", "jwt", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3",
    "end-user", "baggage",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a handler sees; header names are in lower case, `groups` are the pattern's named groups."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    header_list: tuple[tuple[str, str], ...]
    body: bytes
    peer: str
    groups: Mapping[str, str]

    def trace_headers(self) -> dict[str, str]:
        """Headers to send along with requests made on behalf of this one."""
        return {name: self.headers[name] for name in TRACE_HEADERS if name in self.headers}

    def form(self) -> dict[str, str]:
        """Fields of an urlencoded body."""
        return dict(urllib.parse.parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def cookies(self) -> dict[str, str]:
        """Cookies by name."""
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, separator, value in pairs if separator}


@dataclass
class Reply:
    """Status, headers and body of an answer; an iterable body is sent in chunks as it comes."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: list[tuple[str, str]] = field(default_factory=list)


Handler = Callable[[Request], Reply]


def reply_json(value: Any, status: int = 200, *, indent: int | None = None) -> Reply:
    """An answer in JSON."""
    return Reply(status, json.dumps(value, indent=indent).encode() + b"\n" * bool(indent), "application/json")


class Router:
    """Routes in order; the first whose method and whole path match answers."""

    def __init__(self) -> None:
        self._routes: list[tuple[frozenset[str], re.Pattern[str], Handler]] = []

    def add(self, methods: str, pattern: str, handler: Handler) -> None:
        """Route some methods (separated by spaces, `*` for all) of a path pattern to a handler."""
        self._routes.append((frozenset(methods.split()), re.compile(pattern), handler))

    def answer(self, request: Request) -> Reply:
        """Run the handler of a request."""
        allowed: set[str] = set()
        for methods, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            if request.method in methods or "*" in methods or (request.method == "HEAD" and "GET" in methods):
                return handler(Request(**{**vars(request), "groups": match.groupdict()}))
            allowed |= methods
        if allowed:
            return Reply(405, b"Method Not Allowed\n", headers=[("Allow", ", ".join(sorted(allowed)))])
        return Reply(404, b"Not Found\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], router: Router) -> None:
        self.router = router
        self.draining = False
        self.under_way = 0
        self.changed = threading.Condition()
        super().__init__(address, _RequestHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""

    def drain(self, seconds: float) -> None:
        """Let answers that are under way finish."""
        self.draining = True
        with self.changed:
            self.changed.wait_for(lambda: self.under_way == 0, seconds)


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 300

    def setup(self) -> None:
        """Send small answers at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """One line per request on standard output."""
        print(f"{self.address_string()} {format % args}", flush=True)

    def handle_one_request(self) -> None:
        """Read, route and answer one request, counting it as under way."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or len(self.raw_requestline) > 65536:
            self.close_connection = True
            return
        with self.server.changed:
            self.server.under_way += 1
        try:
            if self.parse_request():
                self._answer()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            with self.server.changed:
                self.server.under_way -= 1
                self.server.changed.notify_all()

    def _answer(self) -> None:
        target = urllib.parse.urlsplit(self.path)
        request = Request(
            method=self.command,
            path=urllib.parse.unquote(target.path),
            query=urllib.parse.parse_qs(target.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            header_list=tuple(self.headers.items()),
            body=self._read_body(),
            peer=self.client_address[0],
            groups={},
        )
        self._send(self.server.router.answer(request))

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue
        return body

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        body = reply.body
        whole = body if isinstance(body, bytes) else None
        for name, value in [("Content-Type", reply.content_type), *reply.headers]:
            self.send_header(name, value)
        if whole is not None:
            self.send_header("Content-Length", str(len(whole)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        if self.server.draining:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(body, bytes):
            self.wfile.write(body)
            return
        for chunk in body:
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")


def serve(router: Router, port: int) -> None:
    """Answer requests on a port until SIGTERM or Ctrl-C."""
    server = _Server(("", port), router)

    def end(_number: int, _frame: Any) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"listening on port {port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()
    server.drain(20.0)
