"""Who gets a sidecar, as Istio's decision tables say, and the webhook selectors agree with it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from lateen.inject.configuration import build_webhooks
from lateen.inject.decision import INJECT, decide, decide_pod
from lateen.inject.settings import InjectionSettings, parse_selectors

REQUIRED = Path(__file__).parents[3] / "shared" / "conformance" / "inject" / "inject_required.json"


def build_pod(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "default", "labels": labels or {}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "app"}], **spec}}


@pytest.mark.skipif(not REQUIRED.is_file(), reason="the conformance folder is not here")
def test_istios_table_of_decisions() -> None:
    for case in json.loads(REQUIRED.read_text()):
        settings = InjectionSettings(
            policy=case["policy"],
            never_selectors=parse_selectors(case["never_inject_selector"]),
            always_selectors=parse_selectors(case["always_inject_selector"]),
        )
        pod = {"metadata": case["metadata"], "spec": {"hostNetwork": case["host_network"], "containers": []}}
        assert decide_pod(pod, settings).inject is case["want"], case["id"]


@pytest.mark.parametrize(
    ("namespace", "labels", "wanted"),
    [
        ({}, {}, False),
        ({"istio-injection": "enabled"}, {}, True),
        ({"istio-injection": "enabled"}, {INJECT: "false"}, False),
        ({"istio-injection": "disabled"}, {INJECT: "true"}, False),
        ({"istio-injection": "disabled", "istio.io/rev": "default"}, {}, False),
        ({"istio-injection": "enabled", "istio.io/rev": "canary"}, {}, True),
        ({"istio.io/rev": "default"}, {}, True),
        ({"istio.io/rev": "canary"}, {}, False),
        ({}, {INJECT: "true"}, True),
        ({}, {INJECT: "true", "istio.io/rev": "canary"}, False),
        ({}, {"istio.io/rev": "default"}, True),
    ],
)
def test_labels_of_namespace_and_pod(namespace: dict[str, str], labels: dict[str, str], *, wanted: bool) -> None:
    assert decide(build_pod(labels), namespace, InjectionSettings()).inject is wanted


def test_never_for_host_network_system_namespaces_and_injected_pods() -> None:
    enabled = {"istio-injection": "enabled"}
    assert not decide(build_pod(hostNetwork=True), enabled, InjectionSettings()).inject
    system = build_pod()
    system["metadata"]["namespace"] = "kube-system"
    assert not decide(system, enabled, InjectionSettings()).inject
    injected = build_pod(initContainers=[{"name": "istio-proxy"}])
    injected["metadata"]["annotations"] = {"sidecar.istio.io/status": "{}"}
    assert "already" in decide(injected, enabled, InjectionSettings()).reason


def test_the_label_beats_the_annotation() -> None:
    pod = build_pod({INJECT: "true"})
    pod["metadata"]["annotations"] = {INJECT: "false"}
    assert decide_pod(pod, InjectionSettings(policy="disabled")).inject


def test_at_most_one_webhook_chooses_a_pod_and_the_decision_says_the_same() -> None:
    webhooks = build_webhooks()["webhooks"]
    values = {"istio-injection": (None, "enabled", "disabled"), "istio.io/rev": (None, "default", "canary")}
    pods = {INJECT: (None, "true", "false"), "istio.io/rev": (None, "default", "canary")}
    for namespace, labels in itertools.product(_combine(values), _combine(pods)):
        chosen = [one["name"] for one in webhooks if _selects(one, namespace, labels)]
        assert len(chosen) <= 1
        assert decide(build_pod(labels), namespace, InjectionSettings()).inject is bool(chosen), (namespace, labels)


def _combine(values: dict[str, tuple[str | None, ...]]) -> list[dict[str, str]]:
    return [
        {key: value for key, value in zip(values, chosen, strict=True) if value is not None}
        for chosen in itertools.product(*values.values())
    ]


def _selects(webhook: dict[str, Any], namespace: dict[str, str], labels: dict[str, str]) -> bool:
    [by_namespace] = parse_selectors([webhook["namespaceSelector"]])
    [by_object] = parse_selectors([webhook["objectSelector"]])
    return by_namespace.matches(namespace) and by_object.matches(labels)
