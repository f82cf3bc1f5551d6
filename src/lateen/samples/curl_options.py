"""The command line of our `curl`: the flags that Istio's documentation uses.

Words -> `argparse.Namespace`. What it does not know is refused with exit code 2, as curl does. Accepted and without
effect, for they ask for what is done anyway: HTTP/1.1, no progress meter, IPv4, no globbing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

USAGE = 2

_SWITCHES = (
    ("-s", "--silent"), ("-S", "--show-error"), ("-v", "--verbose"), ("-i", "--include", "--show-headers"),
    ("-I", "--head"), ("-k", "--insecure"), ("-L", "--location"), ("-f", "--fail"), ("-G", "--get"),
    ("--fail-with-body",), ("--retry-connrefused",), ("--retry-all-errors",),
)  # fmt: skip
_WITHOUT_EFFECT = (
    ("-4", "--ipv4"), ("--http1.1",), ("-0", "--http1.0"), ("-g", "--globoff"), ("-N", "--no-buffer"),
    ("--compressed",), ("--path-as-is",), ("--no-progress-meter",), ("-#", "--progress-bar"), ("-Z", "--parallel"),
    ("--no-keepalive",), ("--tcp-nodelay",), ("-q", "--disable"),
)  # fmt: skip
_VALUES = (
    ("-o", "--output"), ("-w", "--write-out"), ("-X", "--request"), ("-A", "--user-agent"), ("-u", "--user"),
    ("-b", "--cookie"), ("-e", "--referer"), ("--cacert",), ("--cert", "-E"), ("--key",), ("-D", "--dump-header"),
)  # fmt: skip
_BODIES = ("-d", "--data", "--data-ascii", "--data-raw", "--data-binary", "--data-urlencode", "--json")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(
            f"curl: {message}\ncurl: this stand-in for curl knows the flags of Istio's documentation", file=sys.stderr
        )
        raise SystemExit(USAGE)


class _Body(argparse.Action):
    """Keeps which flag a piece of the body came with."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, flag: str | None = None
    ) -> None:
        namespace.data = [*namespace.data, (flag, values)]
        if flag == "--json":
            namespace.header = [*namespace.header, "Content-Type: application/json", "Accept: application/json"]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read curl's command line."""
    parser = _Parser(prog="curl", add_help=False, allow_abbrev=False)
    for flags in (*_SWITCHES, *_WITHOUT_EFFECT):
        parser.add_argument(*flags, action="store_true")
    for flags in _VALUES:
        parser.add_argument(*flags)
    parser.add_argument("-m", "--max-time", type=float)
    parser.add_argument("--connect-timeout", type=float)
    parser.add_argument("--retry", type=int, default=0)
    parser.add_argument("--retry-delay", type=float)
    parser.add_argument("--retry-max-time", type=float)
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("--resolve", "--connect-to", action="append", default=[])
    parser.add_argument(*_BODIES, dest="data", action=_Body, default=[])
    parser.add_argument("urls", nargs="*")
    parser.add_argument("--url", action="append", default=[])
    options = parser.parse_intermixed_args(argv)
    options.data, options.header = list(options.data), list(options.header)
    return options
