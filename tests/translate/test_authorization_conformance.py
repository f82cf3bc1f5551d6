"""Policies become the filters that istiod makes of them: `../shared/conformance/authz`, compared message by message."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mesh_case import build_database

from lateen.envoy.messages import build_document, build_message, message_class, pack_any
from lateen.incremental.database import Database
from lateen.mesh.authz import Authorization, authorization
from lateen.mesh.rows import sort_labels
from lateen.translate.authorization_filter import build_authorization

NAMESPACE, LABELS = "foo", sort_labels({"app": "httpbin", "version": "v1"})
KNOWN_FAILURES: dict[str, str] = {}
"""Case -> why it differs."""

AUTHORIZER = {
    "kind": "Service",
    "metadata": {"name": "my-custom-ext-authz", "namespace": "foo"},
    "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "grpc", "port": 9000}]},
}


@cache
def load_cases(folder: Path) -> dict[str, dict[str, Any]]:
    return {case["id"]: case for case in json.loads((folder / "cases.json").read_text())}


def build_mesh(case: dict[str, Any]) -> Database:
    settings = dict(case["mesh_config"] or {})
    if case["trust_domains"]:
        settings["trustDomain"], *settings["trustDomainAliases"] = case["trust_domains"]
    config = {
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": json.dumps(settings)},
    }
    return build_database([AUTHORIZER, config, *case["policies"]])


def build_filters(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the filters of a case as istiod's tests have them: either those of CUSTOM policies or all others."""
    database = build_mesh(case)
    found = authorization(database, NAMESPACE, LABELS)
    if case["custom_builder"]:
        found = Authorization(custom=found.custom)
    else:
        found = Authorization(audit=found.audit, deny=found.deny, allow=found.allow)
    filters = build_authorization(database, found, NAMESPACE, tcp=case["protocol"] == "tcp")
    http_filter = message_class("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter")
    return [build_document(http_filter(name=name, typed_config=pack_any(config))) for name, config in filters]


def normalise(filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return filters as our Envoy's messages write them."""
    name = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
    return [build_document(build_message(name, one)) for one in filters]


def is_equal(case: dict[str, Any]) -> bool:
    return build_filters(case) == normalise(case["actual_filters"])


def list_case_ids() -> list[str]:
    folder = Path(__file__).resolve().parents[3] / "shared" / "conformance" / "authz"
    return sorted(load_cases(folder)) if folder.exists() else []


@pytest.mark.parametrize("case_id", list_case_ids())
def test_filters_are_those_of_istiod(case_id: str, shared: Path, request: pytest.FixtureRequest) -> None:
    if case_id in KNOWN_FAILURES:
        request.applymarker(pytest.mark.xfail(reason=KNOWN_FAILURES[case_id], strict=True))
    case = load_cases(shared / "conformance" / "authz")[case_id]
    assert build_filters(case) == normalise(case["actual_filters"])


def test_number_of_equal_cases(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = load_cases(shared / "conformance" / "authz")
    equal = [name for name, case in cases.items() if is_equal(case)]
    with capsys.disabled():
        print(f"\nconformance/authz: {len(equal)} of {len(cases)}")
    assert len(equal) == len(cases) - len(KNOWN_FAILURES)
