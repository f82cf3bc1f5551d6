"""Istio's own goldens where the conformance folder is at hand: every case but the listed ones is equal as data."""

from __future__ import annotations

from pathlib import Path

import pytest
from injection_goldens import find_differences, load_cases

FOLDER = Path(__file__).parents[3] / "shared" / "conformance" / "inject"
KNOWN = {
    "cronjob.yaml.injected": "Istio's file injection labels a CronJob's Job, ours its pods, as the webhook does",
    "cronjob-old-version.yaml.injected": "as cronjob.yaml",
    "hello-openshift.yaml.injected": "OpenShift's user ranges are not read",
    "merge-probers.yaml.injected": "a pod that has a sidecar stays as it is",
    "custom-template.yaml.injected": "templates of the user are not supported",
    "grpc-agent.yaml.injected": "proxyless gRPC is not supported",
    "traffic-annotations-bad-includeipranges.yaml!error": "refused too, with the annotation's own name",
}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the conformance folder is not here")
def test_every_golden_is_equal_as_data() -> None:
    failed = {case["id"]: found for case in load_cases(FOLDER) if (found := find_differences(FOLDER, case))}
    assert set(failed) == set(KNOWN), {name: found for name, found in failed.items() if name not in KNOWN}
