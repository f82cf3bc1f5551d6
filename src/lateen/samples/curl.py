"""The program `curl` of the sample images: the flags that Istio's documentation uses, curl's exit codes.

Arguments -> requests over `http.client` -> output, `-w` summary, exit code. HTTP/1.1 only; flags it does not know are
refused with exit code 2, as curl does.
"""

from __future__ import annotations

import argparse
import base64
import errno
import http.client
import re
import socket
import ssl
import sys
import time
import urllib.parse
from dataclasses import dataclass, field

# https://curl.se/libcurl/c/libcurl-errors.html
USAGE, BAD_URL, NO_HOST, NO_CONNECTION, HTTP_ERROR = 2, 3, 6, 7, 22
TIMED_OUT, TLS_FAILED, TOO_MANY_REDIRECTS, EMPTY_REPLY, RECEIVE_FAILED = 28, 35, 47, 52, 56
_VERSION = "curl/8 (lateen)"
_MOST_REDIRECTS = 50


class Failure(Exception):
    """The request ended with a curl exit code and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Outcome:
    """What `-w` may print of a request."""

    status: int = 0
    sent_to: str = ""
    size: int = 0
    started: float = field(default_factory=time.monotonic)
    connected: float = 0.0
    first_byte: float = 0.0
    redirects: int = 0
    content_type: str = ""

    def format(self, template: str) -> str:
        """Expand `%{name}` and the escapes of `-w`."""
        now = time.monotonic()
        values = {
            "http_code": f"{self.status:03d}",
            "response_code": f"{self.status:03d}",
            "size_download": str(self.size),
            "remote_ip": self.sent_to.rpartition(":")[0],
            "remote_port": self.sent_to.rpartition(":")[2],
            "num_redirects": str(self.redirects),
            "content_type": self.content_type,
            "time_total": f"{now - self.started:.6f}",
            "time_connect": f"{max(0.0, self.connected - self.started):.6f}",
            "time_starttransfer": f"{max(0.0, self.first_byte - self.started):.6f}",
        }
        text = re.sub(r"%\{(\w+)\}", lambda match: values.get(match[1], ""), template)
        return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r").replace("%%", "%")


def parse(argv: list[str]) -> argparse.Namespace:
    """Read curl's command line."""
    parser = argparse.ArgumentParser(prog="curl", add_help=False, allow_abbrev=False)
    for flags in (
        ("-s", "--silent"), ("-S", "--show-error"), ("-v", "--verbose"), ("-i", "--include"), ("-I", "--head"),
        ("-k", "--insecure"), ("-L", "--location"), ("-f", "--fail"), ("-G", "--get"), ("-4", "--ipv4"),
        ("--http1.1",), ("--fail-with-body",), ("-g", "--globoff"), ("-N", "--no-buffer"), ("--http1.0", "-0"),
    ):  # fmt: skip
        parser.add_argument(*flags, action="store_true")
    for flags in (
        ("-o", "--output"), ("-w", "--write-out"), ("-X", "--request"), ("-A", "--user-agent"), ("-u", "--user"),
        ("-b", "--cookie"), ("-e", "--referer"), ("--cacert",), ("--cert",), ("--key",), ("-D", "--dump-header"),
    ):  # fmt: skip
        parser.add_argument(*flags)
    parser.add_argument("-m", "--max-time", type=float)
    parser.add_argument("--connect-timeout", type=float)
    parser.add_argument("--retry", type=int, default=0)
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("--resolve", "--connect-to", action="append", default=[])
    parser.add_argument("-d", "--data", "--data-raw", "--data-binary", "--data-ascii", action="append", default=[])
    parser.add_argument("urls", nargs="*")
    parser.add_argument("--url", action="append", default=[])
    return parser.parse_args(argv)


class Transfer:
    """One URL, with its redirects."""

    def __init__(self, options: argparse.Namespace, url: str) -> None:
        self._options = options
        self._url = url if "://" in url else f"http://{url}"
        self.outcome = Outcome()

    def run(self) -> None:
        """Send the request and write the answer; raises Failure."""
        for _ in range(_MOST_REDIRECTS):
            location = self._exchange()
            if location is None:
                return
            self._url = urllib.parse.urljoin(self._url, location)
            self.outcome.redirects += 1
        raise Failure(TOO_MANY_REDIRECTS, f"Maximum ({_MOST_REDIRECTS}) redirects followed")

    def _exchange(self) -> str | None:
        target = urllib.parse.urlsplit(self._url)
        if target.scheme not in ("http", "https") or not target.hostname:
            raise Failure(BAD_URL, f"URL rejected: {self._url}")
        connection = self._connect(target)
        try:
            self._send(connection, target)
            answer = connection.getresponse()
            self.outcome.first_byte = time.monotonic()
            return self._receive(answer)
        except http.client.RemoteDisconnected as error:
            raise Failure(EMPTY_REPLY, "Empty reply from server") from error
        except TimeoutError as error:
            raise Failure(TIMED_OUT, "Operation timed out") from error
        except (OSError, http.client.HTTPException) as error:
            raise Failure(RECEIVE_FAILED, f"Recv failure: {error}") from error
        finally:
            connection.close()

    def _remaining(self) -> float | None:
        if self._options.max_time is None:
            return None
        left = self.outcome.started + self._options.max_time - time.monotonic()
        if left <= 0:
            raise Failure(TIMED_OUT, "Operation timed out")
        return float(left)

    def _connect(self, target: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        host = target.hostname or ""
        port = target.port or (443 if target.scheme == "https" else 80)
        address = self._resolve(host, port)
        limits = [limit for limit in (self._remaining(), self._options.connect_timeout) if limit]
        self._say(f"* Trying {address[0]}:{address[1]}...")
        try:
            opened = socket.create_connection(address, timeout=min(limits) if limits else None)
        except TimeoutError as error:
            raise Failure(TIMED_OUT, f"Failed to connect to {host} port {port}: timed out") from error
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, "") and str(error.strerror)
            raise Failure(NO_CONNECTION, f"Failed to connect to {host} port {port}: {reason}") from error
        self.outcome.connected = time.monotonic()
        self.outcome.sent_to = f"{address[0]}:{address[1]}"
        self._say(f"* Connected to {host} ({address[0]}) port {address[1]}")
        opened.settimeout(self._remaining())
        connection = http.client.HTTPConnection(host, port)
        connection.sock = self._secure(opened, host) if target.scheme == "https" else opened
        return connection

    def _resolve(self, host: str, port: int) -> tuple[str, int]:
        for entry in self._options.resolve:
            name, number, address, *more = entry.split(":")
            if name in (host, "") and number in (str(port), ""):
                return address or host, int(more[0]) if more else port
        try:
            found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            raise Failure(NO_HOST, f"Could not resolve host: {host}") from error
        return str(found[0][4][0]), port

    def _secure(self, opened: socket.socket, host: str) -> socket.socket:
        context = ssl.create_default_context(cafile=self._options.cacert)
        if self._options.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._options.cert:
            context.load_cert_chain(self._options.cert, self._options.key)
        context.set_alpn_protocols(["http/1.1"])
        try:
            return context.wrap_socket(opened, server_hostname=host)
        except OSError as error:
            raise Failure(TLS_FAILED, f"TLS connect error: {error}") from error

    def _send(self, connection: http.client.HTTPConnection, target: urllib.parse.SplitResult) -> None:
        options = self._options
        body, query = self._body(), target.query
        if options.get and body is not None:
            query, body = "&".join(filter(None, (query, body.decode()))), None
        default = "HEAD" if options.head else "GET" if body is None else "POST"
        path = (target.path or "/") + (f"?{query}" if query else "")
        headers = {
            "Host": target.netloc.rpartition("@")[2],
            "User-Agent": options.user_agent or _VERSION,
            "Accept": "*/*",
        }
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Content-Length"] = str(len(body))
        if options.user:
            headers["Authorization"] = "Basic " + base64.b64encode(options.user.encode()).decode()
        if options.cookie:
            headers["Cookie"] = options.cookie
        lines = list(headers.items())
        for header in options.header:
            name, _, value = header.partition(":")
            lines = [line for line in lines if line[0].lower() != name.strip().lower()] + (
                [(name.strip(), value.strip())] if value.strip() or header.endswith(";") else []
            )
        connection.putrequest(options.request or default, path, skip_host=True, skip_accept_encoding=True)
        self._say(f"> {options.request or default} {path} HTTP/1.1")
        for name, value in lines:
            connection.putheader(name, value)
            self._say(f"> {name}: {value}")
        self._say(">")
        connection.endheaders(body)

    def _body(self) -> bytes | None:
        if not self._options.data:
            return None
        parts = []
        for data in self._options.data:
            if data.startswith("@"):
                with open(data[1:], "rb") as file:
                    parts.append(file.read())
            else:
                parts.append(data.encode())
        return b"&".join(parts)

    def _receive(self, answer: http.client.HTTPResponse) -> str | None:
        options = self._options
        self.outcome.status = answer.status
        self.outcome.content_type = answer.headers.get("content-type", "")
        version = "1.1" if answer.version == 11 else "1.0"
        head = [f"HTTP/{version} {answer.status} {answer.reason}", *(f"{k}: {v}" for k, v in answer.getheaders()), ""]
        for line in head:
            self._say(f"< {line}")
        location = answer.headers.get("location")
        body = b"" if options.head else answer.read()
        self.outcome.size = len(body)
        shown = "".join(f"{line}\r\n" for line in head).encode() if options.include or options.head else b""
        if options.location and location and answer.status in (301, 302, 303, 307, 308):
            if options.include or options.head:
                self._write(shown)
            return location
        if answer.status >= 400 and options.fail:
            raise Failure(HTTP_ERROR, f"The requested URL returned error: {answer.status}")
        self._write(shown + body)
        return None

    def _write(self, data: bytes) -> None:
        if self._options.output and self._options.output != "-":
            with open(self._options.output, "ab" if self.outcome.redirects else "wb") as file:
                file.write(data)
            return
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _say(self, line: str) -> None:
        if self._options.verbose:
            print(line, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Fetch every URL; the exit code is the last one's."""
    if argv in (["--version"], ["-V"]):
        print(_VERSION)
        return 0
    options = parse(argv)
    urls = [*options.urls, *options.url]
    if not urls:
        print("curl: (2) no URL specified", file=sys.stderr)
        return USAGE
    code = 0
    for url in urls:
        for attempt in range(options.retry + 1):
            transfer = Transfer(options, url)
            try:
                transfer.run()
                code = 0
            except Failure as failure:
                code = failure.code
                if not options.silent or options.show_error:
                    print(f"curl: ({code}) {failure}", file=sys.stderr)
            if code not in (NO_CONNECTION, TIMED_OUT) or attempt == options.retry:
                break
        if options.write_out:
            sys.stdout.write(transfer.outcome.format(options.write_out))
            sys.stdout.flush()
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
