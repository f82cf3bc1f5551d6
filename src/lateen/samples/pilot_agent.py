"""The program `pilot-agent` of the proxy's container, with the subcommands that users and injected pods run.

    pilot-agent request [--debug-port N] METHOD PATH [BODY]   ask Envoy's admin interface, print the answer
    pilot-agent wait [--timeoutSeconds N] [--url URL]         return when the proxy is ready
    pilot-agent version                                       what really runs here

Source: Istio's pilot-agent reference. We differ: the proxy's own life is the node's, so `proxy` is not here.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.parse

ADMIN_PORT = 15000
READY_URL = "http://localhost:15021/healthz/ready"
_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


def parse_flags(words: list[str], known: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """(flag -> value, other words); `known` has the defaults."""
    values, rest, left = dict(known), [], list(words)
    while left:
        word = left.pop(0)
        name, separator, value = word.lstrip("-").partition("=")
        if word.startswith("--") and name in known:
            values[name] = value if separator else (left.pop(0) if left else "")
        else:
            rest.append(word)
    return values, rest


def ask(method: str, port: int, path: str, body: bytes = b"", *, seconds: float = _SECONDS) -> tuple[int, bytes]:
    """(status, body) of one request to this pod."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, "/" + path.lstrip("/"), body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def request(words: list[str]) -> int:
    """Print what Envoy's admin interface answers."""
    flags, rest = parse_flags(words, {"debug-port": str(ADMIN_PORT)})
    if len(rest) not in (2, 3):
        print("usage: pilot-agent request [--debug-port N] METHOD PATH [BODY]", file=sys.stderr)
        return 64
    try:
        status, body = ask(rest[0].upper(), int(flags["debug-port"]), rest[1], "".join(rest[2:]).encode())
    except OSError as error:
        print(f"Error: Envoy's admin interface does not answer: {error}", file=sys.stderr)
        return 1
    if status >= 300:
        print(f"Error: received unsuccessful status code {status}: {body.decode('utf-8', 'replace')}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(body)
    sys.stdout.flush()
    return 0


def wait(words: list[str]) -> int:
    """Return when the proxy is ready."""
    flags, _ = parse_flags(
        words, {"timeoutSeconds": "60", "url": READY_URL, "requestTimeoutMillis": "", "periodMillis": ""}
    )
    target = urllib.parse.urlsplit(flags["url"])
    deadline = time.monotonic() + float(flags["timeoutSeconds"])
    reason = "no answer"
    while time.monotonic() < deadline:
        try:
            status, body = ask("GET", target.port or 80, target.path, seconds=1.0)
            if status == 200:
                return 0
            reason = f"status {status}: {body.decode('utf-8', 'replace').strip()}"
        except OSError as error:
            reason = str(error)
        time.sleep(_PAUSE_SECONDS)
    print(f"Error: the proxy was not ready in {flags['timeoutSeconds']} s: {reason}", file=sys.stderr)
    return 1


def version(_words: list[str]) -> int:
    """Print what Envoy says of itself."""
    try:
        _, body = ask("GET", ADMIN_PORT, "server_info")
    except OSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(json.loads(body)["version"])
    return 0


def main(argv: list[str]) -> int:
    """Run a subcommand."""
    commands = {"request": request, "wait": wait, "version": version}
    if not argv or argv[0] not in commands:
        print("usage: pilot-agent request|wait|version", file=sys.stderr)
        return 64
    return commands[argv[0]](argv[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
