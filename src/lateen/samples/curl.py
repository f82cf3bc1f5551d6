"""The program `curl` of the sample images: the flags that Istio's documentation uses, curl's exit codes.

Arguments -> requests over `http.client` -> output, `-w` summary, exit code. HTTP/1.1 only; flags it does not know are
refused with exit code 2, as curl does.
"""

from __future__ import annotations

import argparse
import base64
import errno
import http.client
import socket
import ssl
import sys
import time
import urllib.parse

from lateen.samples.curl_options import USAGE, parse
from lateen.samples.curl_outcome import Outcome

# https://curl.se/libcurl/c/libcurl-errors.html
BAD_URL, NO_HOST, NO_CONNECTION, HTTP_ERROR = 3, 6, 7, 22
TIMED_OUT, TLS_FAILED, TOO_MANY_REDIRECTS, EMPTY_REPLY, RECEIVE_FAILED = 28, 35, 47, 52, 56
_VERSION = "curl/8 (lateen)"
_MOST_REDIRECTS = 50


class Failure(Exception):
    """The request ended with a curl exit code and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_body(data: list[tuple[str, str]]) -> bytes | None:
    """The request's body of `-d` and its relatives, each (flag, value); None without any."""
    parts = []
    for flag, value in data:
        if flag == "--data-urlencode":
            name, separator, text = value.partition("=")
            parts.append(f"{name}{separator}{urllib.parse.quote_plus(text)}".encode())
        elif value.startswith("@") and flag != "--data-raw":
            with open(value[1:], "rb") if value != "@-" else sys.stdin.buffer as file:
                content = file.read()
            parts.append(content if flag == "--data-binary" else content.replace(b"\r", b"").replace(b"\n", b""))
        else:
            parts.append(value.encode())
    return b"&".join(parts) if parts else None


class Transfer:
    """One URL, with its redirects."""

    def __init__(self, options: argparse.Namespace, url: str) -> None:
        self._options = options
        self._url = url if "://" in url else f"http://{url}"
        self._body = read_body(options.data)
        self.outcome = Outcome()

    def run(self) -> None:
        """Send the request and write the answer; raises Failure."""
        for _ in range(_MOST_REDIRECTS):
            location = self._exchange()
            if location is None:
                return
            self._url = urllib.parse.urljoin(self._url, location)
            self.outcome.redirects += 1
            if self.outcome.status in (301, 302, 303) and self._options.request is None:
                self._body = None
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
        self.outcome.resolved = time.monotonic()
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
        body, query = self._body, target.query
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
        self.outcome.method = options.request or default
        self._say(f"> {self.outcome.method} {path} HTTP/1.1")
        for name, value in lines:
            connection.putheader(name, value)
            self._say(f"> {name}: {value}")
        self._say(">")
        connection.endheaders(body)

    def _receive(self, answer: http.client.HTTPResponse) -> str | None:
        options = self._options
        outcome = self.outcome
        outcome.status, outcome.url = answer.status, self._url
        outcome.headers = {name.lower(): value for name, value in answer.getheaders()}
        outcome.version = "1.1" if answer.version == 11 else "1.0"
        head = [
            f"HTTP/{outcome.version} {answer.status} {answer.reason}",
            *(f"{k}: {v}" for k, v in answer.getheaders()),
            "",
        ]
        for line in head:
            self._say(f"< {line}")
        location = answer.headers.get("location")
        outcome.redirect_url = urllib.parse.urljoin(self._url, location) if location else ""
        body = b"" if options.head else answer.read()
        outcome.size = len(body)
        self._dump_head(head)
        shown = "".join(f"{line}\r\n" for line in head).encode() if options.include or options.head else b""
        if options.location and location and answer.status in (301, 302, 303, 307, 308):
            if options.include or options.head:
                self._write(shown)
            return location
        if answer.status >= 400 and options.fail_with_body:
            self._write(shown + body)
        if answer.status >= 400 and (options.fail or options.fail_with_body):
            raise Failure(HTTP_ERROR, f"The requested URL returned error: {answer.status}")
        self._write(shown + body)
        return None

    def _dump_head(self, head: list[str]) -> None:
        target = self._options.dump_header
        if target is None:
            return
        text = "".join(f"{line}\r\n" for line in head)
        if target == "-":
            self._write_out(text.encode())
            return
        with open(target, "a" if self.outcome.redirects else "w", newline="") as file:
            file.write(text)

    def _write(self, data: bytes) -> None:
        if self._options.output and self._options.output != "-":
            with open(self._options.output, "ab" if self.outcome.redirects else "wb") as file:
                file.write(data)
            return
        self._write_out(data)

    def _write_out(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _say(self, line: str) -> None:
        if self._options.verbose:
            print(line, file=sys.stderr, flush=True)


def fetch_with_retries(options: argparse.Namespace, url: str) -> int:
    """The exit code of one URL, tried again as `--retry` says."""
    retryable = {TIMED_OUT, *([NO_CONNECTION] if options.retry_connrefused or options.retry_all_errors else [])}
    for attempt in range(options.retry + 1):
        transfer = Transfer(options, url)
        outcome = transfer.outcome
        try:
            transfer.run()
        except Failure as failure:
            outcome.exit_code, outcome.message = failure.code, str(failure)
            if not options.silent or options.show_error:
                print(f"curl: ({failure.code}) {failure}", file=sys.stderr)
        again = outcome.exit_code in retryable or (options.retry_all_errors and outcome.exit_code)
        again = again or outcome.status in (408, 429, 500, 502, 503, 504)
        if not again or attempt == options.retry:
            break
        time.sleep(options.retry_delay if options.retry_delay is not None else min(2.0**attempt, 600.0))
    if options.write_out:
        sys.stdout.write(outcome.format(options.write_out))
        sys.stdout.flush()
    return outcome.exit_code


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
        code = fetch_with_retries(options, url)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
