"""Where Istio's own assertions send requests, our configuration sends them too, but for a list that may only shrink."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent
MOST_KNOWN_FAILURES = 17
LEAST_DERIVED_SHARE = 0.9


def load_runner() -> ModuleType:
    specification = importlib.util.spec_from_file_location("lateen_conformance", ROOT / "tools" / "conformance.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def test_known_failures_have_reasons_and_only_shrink() -> None:
    lines = (Path(__file__).parent / "known_failures.txt").read_text().splitlines()
    assert all(" # " in line for line in lines)
    assert len(lines) <= MOST_KNOWN_FAILURES


def test_exactly_the_known_failures_fail(shared: Path) -> None:
    runner = load_runner()
    outcome = runner.run_simulation(shared / "conformance" / "simulation")
    known = {line.split(" # ")[0] for line in runner.KNOWN_FAILURES.read_text().splitlines()}
    assert {failure.key for failure in outcome.failures} == known
    assert outcome.total > len(known)


def test_written_configuration_is_judged_alike_by_the_evaluator_itself(shared: Path, tmp_path: Path) -> None:
    folder = shared / "conformance" / "simulation"
    outcome = load_runner().run_simulation(folder, tmp_path)
    command = [sys.executable, str(folder / "evaluate.py"), str(folder / "cases"), "--xds", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert f"calls {outcome.total}  ok {outcome.agreed} " in said


@pytest.mark.parametrize("fields", [("error", "cluster")], ids=["error and cluster"])
def test_sampled_calls_go_where_istiods_own_configuration_sends_them(fields: tuple[str, ...], shared: Path) -> None:
    folder = shared / "conformance" / "simulation"
    runner = load_runner()
    evaluator = runner.load_evaluator(folder)
    agreed = total = 0
    for path in sorted((folder / "derived_calls").glob("*.json")):
        xds = runner.configure_case(json.loads((folder / "cases" / path.name).read_text()))
        for call in json.loads(path.read_text())["calls"]:
            found = evaluator.evaluate(xds, call["call"])
            total += 1
            agreed += all(found.get(field) == call["expect"].get(field) for field in fields)
    assert agreed >= LEAST_DERIVED_SHARE * total, f"{agreed} of {total}"
