"""A stand-in for fortio: `load` with the result table that Istio's tasks read, `curl`, and an echo `server`.

    fortio load [-c CONNECTIONS] [-n CALLS | -t DURATION] [-qps RATE] [-H 'Name: value'] [-keepalive=false] URL
    fortio curl URL
    fortio server [-http-port PORT]

One thread and one connection per `-c`; `-qps 0` is as fast as possible, and rates are shared among connections.
"""

from __future__ import annotations

import http.client
import math
import sys
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field

from lateen.samples.web import Reply, Request, Router, serve

BOOLEAN_FLAGS = {"-a", "-stdclient", "-k", "-quiet", "-jitter", "-uniform", "-nocatchup"}
PERCENTILES = (50, 75, 90, 99, 99.9)


@dataclass
class Options:
    """What the command line asks for; `calls` 0 means by time."""

    url: str = ""
    connections: int = 4
    calls: int = 0
    seconds: float = 5.0
    rate: float = 8.0
    keepalive: bool = True
    request_seconds: float = 3.0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Results:
    """What the calls gave; durations in seconds."""

    codes: Counter[int] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)
    sockets: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `5s`, `1m30s`, `300ms`."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "us": 1e-6}
    total, number, position = 0.0, "", 0
    while position < len(text):
        if text[position].isdigit() or text[position] == ".":
            number += text[position]
            position += 1
            continue
        unit = text[position : position + 2] if text[position : position + 2] in units else text[position]
        if unit not in units or not number:
            raise SystemExit(f"fortio: invalid duration {text!r}")
        total += float(number) * units[unit]
        number = ""
        position += len(unit)
    return total


def parse_options(arguments: list[str]) -> Options:
    """Read fortio's flags, with one or two dashes, as `-flag value` or `-flag=value`."""
    options, rest = Options(), list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            options.url = word
            continue
        flag, has_value, value = ("-" + word.lstrip("-")).partition("=")
        if not has_value and flag not in BOOLEAN_FLAGS | {"-keepalive"}:
            value = rest.pop(0) if rest else ""
        _apply(options, flag, value)
    if not options.url:
        raise SystemExit("fortio: needs a URL")
    if "://" not in options.url:
        options.url = f"http://{options.url}"
    return options


def _apply(options: Options, flag: str, value: str) -> None:
    match flag:
        case "-c":
            options.connections = int(value)
        case "-n":
            options.calls = int(value)
        case "-t":
            options.seconds = parse_duration(value) if value != "0" else math.inf
        case "-qps":
            options.rate = float(value)
        case "-timeout":
            options.request_seconds = parse_duration(value)
        case "-keepalive":
            options.keepalive = value.lower() not in ("false", "0")
        case "-H":
            name, _, text = value.partition(":")
            options.headers[name.strip()] = text.strip()


class Caller(threading.Thread):
    """One connection that makes calls until its share is done."""

    def __init__(self, options: Options, results: Results, share: int, deadline: float) -> None:
        super().__init__(daemon=True)
        self.options, self.results, self.share, self.deadline = options, results, share, deadline
        target = urllib.parse.urlsplit(options.url)
        self.host, self.port = target.hostname or "", target.port or 80
        self.path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        self.connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Make calls at the rate asked for."""
        pace = self.options.connections / self.options.rate if self.options.rate > 0 else 0.0
        started, made = time.monotonic(), 0
        while made < self.share if self.share else time.monotonic() < self.deadline:
            wait = started + made * pace - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._call()
            made += 1

    def _call(self) -> None:
        begun = time.monotonic()
        code = self._request()
        if not self.options.keepalive or code < 0:
            self._disconnect()
        with self.results.lock:
            self.results.codes[code] += 1
            self.results.durations.append(time.monotonic() - begun)

    def _request(self) -> int:
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.options.request_seconds)
                with self.results.lock:
                    self.results.sockets += 1
            headers = {"User-Agent": "fortio.org/fortio-1.69", **self.options.headers}
            self.connection.request("GET", self.path, headers=headers)
            answer = self.connection.getresponse()
            answer.read()
            if answer.will_close:
                self._disconnect()
            return answer.status
        except (OSError, http.client.HTTPException):
            return -1

    def _disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def load(arguments: list[str]) -> None:
    """Make calls and print the table."""
    options, results = parse_options(arguments), Results()
    share, extra = divmod(options.calls, options.connections)
    rate = f"{options.rate:g} queries per second" if options.rate > 0 else "0 queries per second"
    print(
        f"Fortio running at {rate}, {options.connections} thread(s), for {options.calls or options.seconds}: {options.url}"
    )
    started = time.monotonic()
    callers = [
        Caller(options, results, share + (number < extra), started + options.seconds)
        for number in range(options.connections)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    print_results(options, results, time.monotonic() - started)


def print_results(options: Options, results: Results, elapsed: float) -> None:
    """Print durations, percentiles and the share of each status code."""
    durations = sorted(results.durations)
    count = len(durations)
    if not count:
        raise SystemExit("fortio: no call was made")
    mean = sum(durations) / count
    deviation = math.sqrt(sum((each - mean) ** 2 for each in durations) / count)
    print(f"Ended after {elapsed:.6g}s : {count} calls. qps={count / elapsed:.5g}")
    print(
        f"Aggregated Function Time : count {count} avg {mean:.8g} +/- {deviation:.4g} min {durations[0]:.8g} max {durations[-1]:.8g} sum {sum(durations):.8g}"
    )
    for percentile in PERCENTILES:
        position = min(count - 1, math.ceil(count * percentile / 100) - 1)
        print(f"# target {percentile:g}% {durations[position]:.6g}")
    print(f"Sockets used: {results.sockets} (for perfect keepalive, would be {options.connections})")
    for code, number in sorted(results.codes.items()):
        print(f"Code {code:3d} : {number} ({100 * number / count:.1f} %)")
    print(f"All done {count} calls (plus 0 warmup) {mean * 1000:.3f} ms avg, {count / elapsed:.1f} qps")


def curl(arguments: list[str]) -> None:
    """Make one request and print status line, headers and body."""
    options = parse_options(arguments)
    target = urllib.parse.urlsplit(options.url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=options.request_seconds)
    try:
        connection.request("GET", target.path or "/", headers=options.headers)
        answer = connection.getresponse()
    except OSError as error:
        raise SystemExit(f"fortio: {options.url}: {error}") from None
    print(f"HTTP/1.1 {answer.status} {answer.reason}")
    for name, value in answer.getheaders():
        print(f"{name.lower()}: {value}")
    print(f"\n{answer.read().decode('utf-8', 'replace')}")


def echo_server(arguments: list[str]) -> None:
    """Answer every request with its own body or headers."""
    port = 8080
    for position, word in enumerate(arguments):
        if word.lstrip("-").startswith("http-port"):
            port = int(word.partition("=")[2] or arguments[position + 1])

    def echo(request: Request) -> Reply:
        status = int(request.query.get("status", ["200"])[0].split(":")[0])
        text = "\n".join(f"{name}: {value}" for name, value in request.header_list)
        return Reply(status, request.body or text.encode() + b"\n")

    router = Router()
    router.add("*", ".*", echo)
    serve(router, port)


def main(argv: list[str]) -> None:
    """Run a subcommand."""
    commands = {"load": load, "curl": curl, "server": echo_server}
    if not argv or argv[0] not in commands:
        raise SystemExit("usage: fortio load|curl|server [flags] [URL]")
    commands[argv[0]](argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
