"""How `lateen discovery` is started: its command line, as a value.

Ports are Istio's; each may be 0 for any free one, and what was chosen is written as JSON to `--ports-file` and,
as one line, to standard output once every port answers. Source: `pilot-discovery discovery --help`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from lateen.base.names import TRUST_DOMAIN


@dataclass(frozen=True)
class Ports:
    """Where discovery listens; the names are those of `--ports-file`."""

    ads: int = 15010
    tls: int = 15012
    http: int = 8080
    monitoring: int = 15014
    webhook: int = 15017


@dataclass(frozen=True)
class Options:
    """Everything the command line says."""

    kubeconfig: Path | None
    address: str
    ports: Ports
    ports_file: Path | None
    trust_domain: str
    log_level: str
    dies_with_parent: bool


def parse_options(argv: list[str]) -> Options:
    """The options of a command line; a wrong one ends the process with status 64 and a message."""
    parser = _Parser(
        prog="lateen discovery",
        description="Watch a Kubernetes API and configure every proxy that connects; sign their certificates.",
    )
    parser.add_argument("--kubeconfig", type=Path, help="default: $KUBECONFIG, ~/.kube/config, or the pod's own")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--ads-port", type=_port, default=Ports.ads, help="plaintext ADS, without keys")
    parser.add_argument("--tls-port", type=_port, default=Ports.tls, help="ADS and certificates over TLS")
    parser.add_argument("--webhook-port", type=_port, default=Ports.webhook, help="/inject over TLS")
    parser.add_argument("--http-port", type=_port, default=Ports.http, help="/ready and /debug/*")
    parser.add_argument("--monitoring-port", type=_port, default=Ports.monitoring, help="/metrics and /version")
    parser.add_argument("--ports-file", type=Path, help="write the ports here, as JSON, once they answer")
    parser.add_argument("--trust-domain", default=TRUST_DOMAIN, help="of SPIFFE ids (default: %(default)s)")
    parser.add_argument("--log-level", choices=("debug", "info", "warn", "error"), default="info")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent process ends")
    read = parser.parse_args(argv)
    return Options(
        kubeconfig=read.kubeconfig,
        address=read.address,
        ports=Ports(read.ads_port, read.tls_port, read.http_port, read.monitoring_port, read.webhook_port),
        ports_file=read.ports_file,
        trust_domain=read.trust_domain,
        log_level=read.log_level,
        dies_with_parent=read.die_with_parent,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage()
        self.exit(64, f"error: {message}\n")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return number
