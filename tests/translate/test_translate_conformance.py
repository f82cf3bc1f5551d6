"""Where a mesh has services and peer policies only, our configuration takes every request where istiod's does.

The data, and the evaluator of requests, are those of `../shared/conformance/simulation`. Meshes with kinds that
are not translated yet are not among the cases.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mesh_case import build_database, configure, load_documents

from lateen.mesh.proxy import Proxy

CASES = (
    "TestHeadlessServices",
    "TestHeadlessServiceListenerShape_cidr_listener_disabled",
    "TestPeerAuthenticationPassthrough_global_disable_and_port_9000_strict",
    "TestPeerAuthenticationPassthrough_global_permissive",
    "TestPeerAuthenticationPassthrough_global_strict_and_port_9000_plaintext",
    "samples.bookinfo-peerauth-permissive_productpage-v1-0",
    "samples.bookinfo-peerauth-permissive_ratings-v1-0",
    "samples.bookinfo-registry-only_productpage-v1-0",
    "samples.httpbin_httpbin-0",
    "samples.tcp-tcp-echo-all-v1_tcp-echo-v1-0",
    "samples.tcp-tcp-echo-all-v1_tcp-echo-v2-0",
)


def load_evaluator(folder: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("conformance_evaluate", folder / "evaluate.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def load_mesh(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    documents = load_documents(inputs.get("kube_yaml") or "") + load_documents(inputs.get("istio_yaml") or "")
    for document in documents:
        document["metadata"].setdefault("namespace", "default")
    if "mesh_config" in inputs:
        metadata = {"name": "istio", "namespace": "istio-system"}
        data = {"mesh": json.dumps(inputs["mesh_config"])}
        documents.append({"kind": "ConfigMap", "metadata": metadata, "data": data})
    return documents


@pytest.mark.parametrize("case", CASES)
def test_requests_go_where_istiod_sends_them(case: str, shared: Path) -> None:
    folder = shared / "conformance" / "simulation"
    inputs = json.loads((folder / "cases" / f"{case}.json").read_text())["input"]
    proxy = Proxy.from_node(inputs["proxy"]["node_id"], inputs["proxy"]["metadata"])
    document = configure(build_database(load_mesh(inputs)), proxy).build_document()
    xds = {kind: list(resources.values()) for kind, resources in document.items()}
    evaluator = load_evaluator(folder)
    calls = json.loads((folder / "derived_calls" / f"{case}.json").read_text())
    calls = calls["calls"] if isinstance(calls, dict) else calls
    assert calls
    for call in calls:
        found = evaluator.evaluate(xds, call["call"])
        assert {key: found.get(key) for key in call["expect"]} == call["expect"], call["call"]
