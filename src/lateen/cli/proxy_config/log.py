"""`proxy-config log`: levels of Envoy's loggers, of every pod that a word names.

`--level debug` sets all, `--level http:debug,rbac:trace` some; Envoy's own names, without the `envoy::` namespaces that
older versions had.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from lateen.base.errors import UsageError
from lateen.cli.proxy_config.source import ask_envoy, name_of
from lateen.cli.session import Session, run_session
from lateen.cli.target import find_pods

ALL = "level"
LEVELS = {
    "trace": "trace", "debug": "debug", "info": "info", "warning": "warning", "warn": "warning", "error": "error",
    "critical": "critical", "off": "off", "none": "off",
}  # fmt: skip
_DEFAULT = "warning"


def parse_levels(text: str) -> dict[str, str]:
    """Logger (`level` is all of them) -> level; raises UsageError for an unknown level."""
    levels: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        words = re.split("[:=]", part.rpartition("::")[2], maxsplit=1)
        logger, level = (words[0], words[1]) if len(words) == 2 else (ALL, words[0])
        if level not in LEVELS:
            raise UsageError(f"unrecognized logging level: {level}", fix=f"one of {', '.join(LEVELS)}")
        levels[logger] = LEVELS[level]
    return levels


def show_levels(target: str, text: str, *, reset: bool, namespace: str | None, kubeconfig: Path | None) -> None:
    """Set levels when asked to, and print those of each pod."""
    if reset and text:
        raise UsageError("--level cannot be combined with --reset")
    levels = {ALL: _DEFAULT} if reset else parse_levels(text)

    async def work(session: Session) -> None:
        for pod in await find_pods(session, target, namespace):
            known = (await ask_envoy(session, pod, "POST", "logging")).decode()
            for logger in levels:
                if logger != ALL and not re.search(rf"^\s*{re.escape(logger)}:", known, re.MULTILINE):
                    raise UsageError(
                        f"unrecognized logger name: {logger}", fix="the command without --level lists them"
                    )
            for logger in sorted(levels, key=lambda name: name != ALL):
                known = (await ask_envoy(session, pod, "POST", f"logging?{logger}={levels[logger]}")).decode()
            click.echo(f"{name_of(pod)}:\n{known}", nl=False)

    run_session(kubeconfig, work)
