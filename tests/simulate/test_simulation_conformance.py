"""On istiod's own configuration every call of Istio's simulation tests, and every derived one, ends as recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lateen.simulate.configuration import read_configuration
from lateen.simulate.outcome import Failure, Outcome
from lateen.simulate.simulation import read_call, simulate

FOLDER = Path(__file__).parents[3] / "shared" / "conformance" / "simulation"
FIELDS = ("listener", "filter_chain", "route", "route_config", "virtual_host", "cluster")
BEYOND = (Failure.NO_CLUSTER, Failure.NO_ENDPOINT)
"""Istio's simulation ends at the name of the cluster."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the conformance folder is not here")


def describe(outcome: Outcome) -> dict[str, str]:
    found = {field: getattr(outcome, field) for field in FIELDS}
    failure = outcome.failure if outcome.failure not in BEYOND else None
    return {**found, "error": failure.value if failure else ""}


def list_calls(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    case = json.loads((FOLDER / "cases" / name).read_text())
    derived = json.loads((FOLDER / "derived_calls" / name).read_text())
    own = [(each["call"], each["actual"]) for each in case.get("calls") or ()]
    return [*own, *((each["call"], each["expect"]) for each in derived["calls"])]


def test_every_call_ends_as_istio_says() -> None:
    judged = 0
    for file in sorted((FOLDER / "cases").glob("*.json")):
        configuration = read_configuration(json.loads((FOLDER / "xds" / file.name).read_text()))
        for call, wanted in list_calls(file.name):
            found = describe(simulate(configuration, read_call(call), only_paths=True))
            assert found == {field: wanted.get(field) or "" for field in (*FIELDS, "error")}, (file.name, call)
            judged += 1
    assert judged > 5000
