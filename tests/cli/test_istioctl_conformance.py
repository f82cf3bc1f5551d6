"""`proxy-config -f DUMP` prints what istioctl prints: every run of the conformance data, with its known failures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from lateen.base.errors import LateenError
from lateen.cli.proxy_config.command import proxy_config

CORPUS = Path(os.environ.get("LATEEN_CONFORMANCE", Path(__file__).parents[3] / "shared" / "conformance")) / "istioctl"
KNOWN_FAILURES: dict[str, str] = {}
"""Name of a run -> why it differs; the list may only shrink."""


def load_cases() -> list[dict[str, Any]]:
    path = CORPUS / "cases.json"
    return json.loads(path.read_text()) if path.exists() else []


def run(arguments: list[str]) -> tuple[int, str]:
    """(exit code, standard output) of one run, with paths made absolute."""
    words = [str(CORPUS / word) if word.startswith("inputs/") else word for word in arguments]
    result = CliRunner().invoke(proxy_config, words[1:])
    if isinstance(result.exception, LateenError):
        return result.exception.exit_code, result.stdout
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def find_difference(case: dict[str, Any]) -> str:
    """Why a run differs from istioctl's, or nothing."""
    code, output = run(case["args"])
    wanted = (CORPUS / case["stdout_file"]).read_text()
    if code != case["rc"]:
        return f"exit code {code} instead of {case['rc']}"
    form = case["args"][case["args"].index("-o") + 1]
    if form == "short":
        lines, wanted_lines = ([line.split() for line in text.split("\n") if line.strip()] for text in (output, wanted))
        return "" if lines == wanted_lines else f"printed\n{output}\ninstead of\n{wanted}"
    if not wanted.strip():
        return "" if not output.strip() else "printed something instead of nothing"
    read = json.loads if form == "json" else yaml.safe_load
    return "" if read(output) == read(wanted) else f"{form} differs"


def test_runs_of_istioctl_print_the_same() -> None:
    cases = load_cases()
    if not cases:
        pytest.skip("needs the conformance data beside the checkout, or LATEEN_CONFORMANCE")
    failures = {case["name"]: difference for case in cases if (difference := find_difference(case))}
    telling = [case for case in cases if not case.get("trivial")]
    print(f"istioctl: {len(cases) - len(failures)} of {len(cases)}")
    print(f"istioctl, without the trivial: {sum(c['name'] not in failures for c in telling)} of {len(telling)}")
    new = {name: text for name, text in failures.items() if name not in KNOWN_FAILURES}
    assert not new, "\n\n".join(f"{name}: {text}" for name, text in new.items())
    assert set(KNOWN_FAILURES) <= set(failures), "these agree by now: take them off the list"
