"""What every test shares: the skip rule of CI, the closing figures, and the count of Envoys.

Under CI (`LATEEN_CI=1`) a skipped test fails unless its node id stands in `tests/allowed_skips.txt`.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No example database: a checkout may belong to somebody else. No deadline: machines differ.
settings.register_profile("lateen", database=None, deadline=None)
settings.load_profile("lateen")

TESTS = Path(__file__).parent
SHARED = TESTS.parent.parent / "shared"
STARTED_ENVOYS: Counter[str] = Counter()
_SECONDS: Counter[str] = Counter()


def allowed_skips() -> set[str]:
    """Node ids (or files) that may skip in CI; the rest of each line after ` # ` is the reason."""
    lines = (TESTS / "allowed_skips.txt").read_text().splitlines()
    return {line.split(" # ")[0].strip() for line in lines if line.strip() and not line.startswith("#")}


def _count_envoys(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and Path(os.fsdecode(arguments[0])).name == "envoy":
        STARTED_ENVOYS["by tests"] += 1


def pytest_configure(config: pytest.Config) -> None:
    """Count the Envoys that tests start themselves."""
    sys.addaudithook(_count_envoys)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the project's own."""
    parser.addoption("--update-golden", action="store_true", help="rewrite expected outputs, prune stale ones")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """In CI a skip that nobody allowed is a failure."""
    outcome = yield
    report = outcome.get_result()
    _SECONDS[item.nodeid.split("::")[0]] += int(call.duration * 1000)
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get("LATEEN_CI") != "1":
        return
    if {item.nodeid, item.nodeid.split("::")[0]} & allowed_skips():
        return
    report.outcome = "failed"
    report.longrepr = f"{item.nodeid} was skipped in CI and is not in tests/allowed_skips.txt: {report.longrepr}"


@pytest.fixture(scope="session", autouse=True)
def _envoys_in_pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Count the Envoys of all meshes of the session by the logs of their nodes."""
    yield
    for log in tmp_path_factory.getbasetemp().rglob("cluster.log"):
        lines = log.read_text(errors="replace").splitlines()
        STARTED_ENVOYS["in pods"] += sum("container started" in line and "/proxyv2:" in line for line in lines)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the number of tests, skips and Envoys, and the minutes per file."""
    write = terminalreporter.write_line
    stats = terminalreporter.stats
    ran = sum(len(stats.get(outcome, [])) for outcome in ("passed", "failed"))
    envoys = sum(STARTED_ENVOYS.values())
    write(f"tests: {ran}, skips: {len(stats.get('skipped', []))}, Envoys started: {envoys}")
    for file, milliseconds in _SECONDS.most_common(25):
        if milliseconds >= 1000:
            write(f"  {milliseconds / 60_000:5.2f} min  {file}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the conformance data, samples and the article's YAML."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (conformance data, samples, article), which is not beside this checkout")
    return SHARED
